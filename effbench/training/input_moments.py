"""Second moments of what each weight is multiplied with, seen while a network runs over examples.

They say what an error of a weight costs its layer's output: for a row w of errors, wᵀ H w is the summed square of what
changes (Hassibi and Stork 1992; Frantar et al. 2022, arXiv:2210.17323, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from effbench.compression.layers import Weight
from effbench.compression.modes import evaluating
from effbench.training.recurrent_inputs import CELLS, SEQUENCES, recurrent_factors

Moments = Mapping[str, Tensor]
"""By the weight's name, float64 (groups, columns, columns) on the CPU: sums over places, means over examples.

A weight of shape (n_out, n_in / groups, *kernel) has n_in / groups * prod(kernel) columns, in its own order."""

Note = Callable[[str, Tensor, Tensor, Callable[[], Iterator[Tensor]]], None]
"""note(name, input, output, parts): a use of a weight. `parts` gives what each output is made of, for some images at a
time, (groups, n_outputs, columns)."""

_LINEAR = functional.linear
MOST_COLUMNS = 8192
"""Of a weight with more columns the moments would take gigabytes."""
_MOST_ENTRIES = 2**24
_CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)


def input_moments(
    network: nn.Module, weights: Iterable[Weight], batches: Iterable[Tensor], /, *, device: torch.device
) -> Moments:
    """Return the second moments of the inputs of each of `weights` (of `network`) that is a factor of something.

    batches: images, (n, channels, side, side) each. The network runs over them in evaluation mode on `device`. Calls
    are seen wherever they come from (a module, `functional.linear`, attention's projections), by the weight that they
    are given; attention leaves its fused path meanwhile, which shows nothing. A weight that stands in several places
    has the sum of all. Recurrent layers and transposed convolutions show nothing and are left out, and so is what has
    more than `MOST_COLUMNS` columns, or of which a part alone is used (of attention's, where queries and keys come from
    different places). ValueError, with the weight's name, where an input is not finite.
    """
    totals: dict[str, Tensor] = {}
    n_examples = 0

    def add(name: str, factor: Tensor, _output: Tensor, parts: Callable[[], Iterator[Tensor]]) -> None:
        if not bool(torch.isfinite(factor).all()):
            raise ValueError(f"the input of {name} is not finite: it says nothing of how to round")
        for rows in parts():
            moments = torch.bmm(rows.transpose(1, 2).float(), rows.float()).double().cpu()
            totals[name] = totals[name] + moments if name in totals else moments

    with _watching(network, weights, device, add), torch.no_grad():
        for images in batches:
            network(images.to(device))
            n_examples += len(images)
    return {name: total / n_examples for name, total in totals.items()}


def input_norms(
    network: nn.Module, weights: Iterable[Weight], batches: Iterable[Tensor], /, *, device: torch.device
) -> dict[str, Tensor]:
    """Return ||x||₂ of what each number of `weights` is multiplied with, by the weight's name, in its shape.

    Over all examples and places, float32 on the CPU: of the diagonal of `input_moments`, which says how the network
    runs and what is seen. Here weights of any size are, those of recurrent layers (`recurrent_inputs`), and those of
    transposed convolutions, whose every number is taken to meet all of its channel (at the borders some meet less).
    ValueError, with the weight's name, where an input is not finite.
    """
    weights, totals = list(weights), dict[str, Tensor]()
    shapes = {weight.name: weight.value().shape for weight in weights}

    def add(name: str, factor: Tensor, _output: Tensor, parts: Callable[[], Iterator[Tensor]]) -> None:
        if not bool(torch.isfinite(factor).all()):
            raise ValueError(f"the input of {name} is not finite: it says nothing of what matters")
        for rows in parts():
            squares = rows.float().square().sum(dim=1).double().cpu()
            totals[name] = totals[name] + squares if name in totals else squares

    with _watching(network, weights, device, add, sees_all=True), torch.no_grad():
        for images in batches:
            network(images.to(device))
    return {name: _in_shape(total.sqrt().float(), shapes[name]) for name, total in totals.items()}


def _in_shape(norms: Tensor, shape: torch.Size) -> Tensor:
    """Return norms, (groups, columns) or of a transposed convolution (n_in,), for each number of a weight."""
    if norms.ndim == 1:
        return norms.reshape(-1, *[1] * (len(shape) - 1)).expand(shape)
    return norms.repeat_interleave(shape[0] // len(norms), dim=0).reshape(shape)


def output_curvatures(
    network: nn.Module,
    weights: Iterable[Weight],
    batches: Iterable[Tensor],
    /,
    *,
    device: torch.device,
    generator: torch.Generator,
) -> dict[str, float]:
    """Return how much the loss curves in an output of each of `weights`: the mean over examples, places and channels.

    The squared gradient of the cross-entropy with a class that the network itself draws (Fisher's information; K-FAC,
    Martens and Grosse 2015, arXiv:1503.05671, section 3), by which outputs of all layers are worth the same. What is
    seen and what is left out is as in `input_moments`. ValueError where the network's outputs are no logits,
    (n, classes, ...).
    """
    totals: dict[str, float] = {}
    n_examples = 0

    def add(name: str, _factor: Tensor, output: Tensor, _parts: Callable[[], Iterator[Tensor]]) -> None:
        output.register_hook(partial(_add_square, totals, name, n_here))  # type: ignore[no-untyped-call]

    with _watching(network, weights, device, add), _untrained(network), torch.enable_grad():
        for images in batches:
            n_here = len(images)
            logits = network(images.to(device).clone().requires_grad_())
            if not isinstance(logits, Tensor) or logits.ndim < 2:
                raise ValueError("how much the loss curves is known of networks whose outputs are logits, one a class")
            logits = logits.movedim(1, -1).flatten(0, -2)
            drawn = torch.multinomial(logits.detach().float().softmax(1).cpu(), 1, generator=generator)[:, 0]
            functional.cross_entropy(logits.float(), drawn.to(device), reduction="sum").backward()  # type: ignore[no-untyped-call]
            n_examples += n_here
    return {name: total / n_examples for name, total in totals.items()}


def _add_square(totals: dict[str, float], name: str, n_examples: int, gradient: Tensor) -> None:
    totals[name] = totals.get(name, 0.0) + n_examples * float(gradient.double().square().mean())


@contextmanager
def _untrained(network: nn.Module) -> Iterator[None]:
    """While entered, no parameter has a gradient."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        network.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_()


@contextmanager
def _watching(
    network: nn.Module,
    weights: Iterable[Weight],
    device: torch.device,
    note: Note,
    *,
    sees_all: bool = False,
) -> Iterator[None]:
    """While entered, the network is on `device` and in evaluation mode, and each use of a weight is noted.

    sees_all: also of transposed convolutions, recurrent layers, and weights of more than `MOST_COLUMNS`.
    """
    by_weight = {}
    network.to(device)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with evaluating(network), parametrize.cached():
            for weight in weights:
                tensor = getattr(*weight.places[0])
                if sees_all or tensor[0].numel() <= MOST_COLUMNS:
                    by_weight[tensor.data_ptr(), tensor.shape] = weight.name
            with _Watch(by_weight, note, sees_all=sees_all):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        network.to("cpu")


def _factors(input: Tensor, weight: Tensor, *_args: Any, **_options: Any) -> tuple[Tensor, Tensor]:  # noqa: A002
    return input, weight


class _Watch(TorchFunctionMode):
    """Notes what is multiplied with the weights of the given addresses and shapes.

    A part of a weight may begin at its address.
    """

    def __init__(self, by_weight: Mapping[tuple[int, torch.Size], str], note: Note, *, sees_all: bool) -> None:
        super().__init__()
        self.sees_all = sees_all
        self.by_weight = by_weight
        self.note = note

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is functional.linear:
            return self._linear(*args, **kwargs)
        if function is functional.multi_head_attention_forward:
            # Within what a mode is asked about it sees nothing more.
            with patch.object(functional, "linear", self._linear):
                return function(*args, **kwargs)
        output = function(*args, **kwargs)
        if function in _CONVOLUTIONS:
            self._note(*_factors(*args, **kwargs), output, lambda: _windows(*args, **kwargs))
        if function in (*SEQUENCES, *CELLS) and self.sees_all:
            for weight, factor in recurrent_factors(function, args):
                self._note(factor, weight, factor, partial(_rows, factor))
        if function in _TRANSPOSED and self.sees_all:
            images, weight = _factors(*args, **kwargs)
            channel = images.ndim - weight.ndim + 1  # of a single image, too
            self._note(images, weight, output, lambda: iter([images.movedim(channel, 0).flatten(1)]))
        return output

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
        output = _LINEAR(input, weight, bias)
        self._note(input, weight, output, partial(_rows, input))
        return output

    def _note(self, factor: Tensor, weight: Tensor, output: Tensor, parts: Callable[[], Iterator[Tensor]]) -> None:
        name = self.by_weight.get((weight.data_ptr(), weight.shape))
        if name is not None:
            self.note(name, factor, output, parts)


def _rows(factor: Tensor) -> Iterator[Tensor]:
    return iter([factor.reshape(1, -1, factor.shape[-1])])


def _windows(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Iterator[Tensor]:
    """Yield what each output of a convolution sees, (groups, n_outputs, columns), for some images at a time."""
    kernel, n_in = weight.shape[2:], weight.shape[1]
    images = input if input.dim() == weight.dim() else input.unsqueeze(0)
    steps, gaps = _each(stride, len(kernel)), _each(dilation, len(kernel))
    spans = [gap * (size - 1) for gap, size in zip(gaps, kernel, strict=True)]
    if isinstance(padding, str):
        margins = [(span // 2, span - span // 2) if padding == "same" else (0, 0) for span in spans]
    else:
        margins = [(margin, margin) for margin in _each(padding, len(kernel))]
    n_at_once = max(1, _MOST_ENTRIES // (images[0].numel() * kernel.numel()))
    for some in torch.split(images, n_at_once):
        windows = functional.pad(some, [margin for pair in reversed(margins) for margin in pair])
        for dimension, (span, step, gap) in enumerate(zip(spans, steps, gaps, strict=True), start=2):
            windows = windows.unfold(dimension, span + 1, step)[..., ::gap]
        # (n, groups, n_in, *places, *kernel)
        windows = windows.reshape(len(some), groups, n_in, *windows.shape[2:])
        places = range(3, 3 + len(kernel))
        windows = windows.permute(1, 0, *places, 2, *range(3 + len(kernel), windows.dim()))
        yield windows.reshape(groups, -1, n_in * kernel.numel())


def _each(value: int | Sequence[int], n_dimensions: int) -> list[int]:
    """Return an option of a convolution for each of its dimensions."""
    values = [value] if isinstance(value, int) else list(value)
    return values * n_dimensions if len(values) == 1 else values
