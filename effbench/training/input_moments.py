"""Second moments of what each weight is multiplied with, seen while a network runs over examples.

They say what an error of a weight costs its layer's output: for a row w of errors, wᵀ H w is the summed square of what
changes (Hassibi and Stork 1992; Frantar et al. 2022, arXiv:2210.17323, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from effbench.compression.layers import Weight
from effbench.compression.modes import evaluating

Moments = Mapping[str, Tensor]
"""By the weight's name, float64 (groups, columns, columns) on the CPU: sums over places, means over examples.

A weight of shape (n_out, n_in / groups, *kernel) has n_in / groups * prod(kernel) columns, in its own order."""

_LINEAR = functional.linear
MOST_COLUMNS = 8192
"""Of a weight with more columns the moments would take gigabytes."""
_MOST_ENTRIES = 2**24
_CONVOLUTIONS: dict[Callable[..., Tensor], int] = {
    functional.conv1d: 1,
    functional.conv2d: 2,
    functional.conv3d: 3,
}


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
    by_weight = {}
    network.to(device)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with evaluating(network), parametrize.cached(), torch.no_grad():
            for weight in weights:
                tensor = getattr(*weight.places[0])
                if tensor[0].numel() <= MOST_COLUMNS:
                    by_weight[tensor.data_ptr(), tensor.shape] = weight.name
            watch = _Watch(by_weight)
            n_examples = 0
            with watch:
                for images in batches:
                    network(images.to(device))
                    n_examples += len(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        network.to("cpu")
    return {name: total / n_examples for name, total in watch.totals.items()}


def _factors(input: Tensor, weight: Tensor, *_args: Any, **_options: Any) -> tuple[Tensor, Tensor]:  # noqa: A002
    return input, weight


class _Watch(TorchFunctionMode):
    """Adds up the second moments of what is multiplied with the weights of the given addresses and shapes.

    A part of a weight may begin at its address.
    """

    def __init__(self, by_weight: Mapping[tuple[int, torch.Size], str]) -> None:
        super().__init__()
        self.by_weight = by_weight
        self.totals: dict[str, Tensor] = {}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is functional.linear:
            return self._linear(*args, **kwargs)
        if function in _CONVOLUTIONS:
            self._note(*_factors(*args, **kwargs), lambda: _windows(*args, **kwargs))
        if function is functional.multi_head_attention_forward:
            # Within what a mode is asked about it sees nothing more.
            with patch.object(functional, "linear", self._linear):
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
        self._note(input, weight, lambda: iter([input.reshape(1, -1, input.shape[-1])]))
        return _LINEAR(input, weight, bias)

    def _note(self, input: Tensor, weight: Tensor, parts: Callable[[], Iterator[Tensor]]) -> None:  # noqa: A002
        name = self.by_weight.get((weight.data_ptr(), weight.shape))
        if name is None:
            return
        if not bool(torch.isfinite(input).all()):
            raise ValueError(f"the input of {name} is not finite: it says nothing of how to round")
        for rows in parts():
            moments = torch.bmm(rows.transpose(1, 2).float(), rows.float()).double().cpu()
            self.totals[name] = self.totals[name] + moments if name in self.totals else moments


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
