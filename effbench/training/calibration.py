"""The range of each layer's input, seen while a network runs over training examples."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from effbench.compression.constraints.activation_products import multiply_otherwise, run_plainly
from effbench.compression.constraints.layer_inputs import MOST_OPERANDS, InputGrid, ProductGrids, input_of
from effbench.compression.constraints.ranges import Range, ScaleKind, least_error
from effbench.compression.modes import evaluating
from effbench.compression.structure.watch import fast_paths_off

N_BINS = 2048


@dataclass(frozen=True, kw_only=True)
class RangeRule:
    """Which range of what was seen a grid covers."""

    covered: Range
    percentile: float
    """Of `percentile`: how many percent of the entries of each sign lie within the range; zeros are left out."""
    scale: ScaleKind = "real"


@dataclass
class _Seen:
    """What went into a layer: the ends of it (0 included), and how often each of `N_BINS` bins between them."""

    low: float = 0.0
    high: float = 0.0
    counts: Tensor | None = None

    def widen(self, values: Tensor) -> None:
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))

    def count(self, values: Tensor) -> None:
        # Zero is on every grid: how often it comes says nothing.
        counts = torch.histc(values[values != 0], bins=N_BINS, min=self.low, max=self.high).double().cpu()
        self.counts = counts if self.counts is None else self.counts + counts

    def ends(self, rule: RangeRule, bits: int) -> tuple[float, float]:
        """Return the ends of the layer's grid."""
        if self.counts is None or self.counts.sum() == 0:
            return self.low, self.high
        width = (self.high - self.low) / N_BINS
        centres = self.low + width * (torch.arange(N_BINS, dtype=torch.float64) + 0.5)
        if rule.covered == "percentile":
            sides = (torch.where(centres * sign > 0, self.counts, 0) for sign in (-1, 1))
            below, above = (
                _outermost(counts, rule.percentile, sign) for counts, sign in zip(sides, (-1, 1), strict=True)
            )
            return (
                0.0 if below is None else min(0.0, self.low + width * below),
                0.0 if above is None else max(0.0, self.low + width * (above + 1)),
            )
        counts = self.counts

        def error_at(share: Tensor) -> Tensor:
            grid = InputGrid.between(self.low * float(share), self.high * float(share), bits=bits, scale=rule.scale)
            rounded = grid.round(centres.float()).double()
            return ((rounded - centres).square() * counts).sum().reshape(1)

        share = float(least_error(error_at, 1, torch.device("cpu")))
        return self.low * share, self.high * share


def _outermost(counts: Tensor, percentile: float, sign: int) -> int | None:
    """Return the bin that holds the percentile of one side's entries, counted from zero outwards; None without any."""
    if counts.sum() == 0:
        return None
    outwards = counts if sign > 0 else counts.flip(0)
    reached = outwards.cumsum(0) >= percentile / 100 * counts.sum()
    place = int(reached.int().argmax())
    return place if sign > 0 else len(counts) - 1 - place


def calibrate(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    batches: Iterable[Tensor],
    /,
    *,
    bits: Mapping[str, int],
    rule: RangeRule,
    device: torch.device,
) -> dict[str, InputGrid]:
    """Return a grid of `bits` for the input of each of `layers` (of `model`) that runs, by name.

    batches: images, (n, channels, side, side) each. `model` runs over them in evaluation mode on `device`: once for the
    smallest and largest input of each layer (`max`), once more for a histogram where a `percentile` or the least
    squared error (`mse`, see `ranges.least_error`) is asked for. Percentiles leave zeros out, one for each sign.
    ValueError where an input is not finite.
    """
    images = list(batches)

    def watch(note: Callable[[str, Tensor], None]) -> None:
        _watch(model, layers, images, device, note)

    return _grids(watch, lambda name: bits[name], rule, what=lambda name: f"the input of {name}")


_Key = TypeVar("_Key", bound=Hashable)


def _grids(
    watch: Callable[[Callable[[_Key, Tensor], None]], None],
    bits: Callable[[_Key], int],
    rule: RangeRule,
    *,
    what: Callable[[_Key], str],
) -> dict[_Key, InputGrid]:
    """Return the grids of what `watch` sees: it runs a network, and gives what it is called with a name and values."""
    seen: dict[_Key, _Seen] = {}

    def widen(key: _Key, values: Tensor) -> None:
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{what(key)} is not finite: it can't be quantised")
        seen.setdefault(key, _Seen()).widen(values)

    watch(widen)
    if rule.covered != "max":
        watch(lambda key, values: seen[key].count(values))
    ends = {key: values.ends(rule, bits(key)) for key, values in seen.items()}
    return {key: InputGrid.between(*of_key, bits=bits(key), scale=rule.scale) for key, of_key in ends.items()}


def calibrate_products(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    batches: Iterable[Tensor],
    /,
    *,
    bits: Mapping[str, int],
    rule: RangeRule,
    device: torch.device,
) -> dict[str, ProductGrids]:
    """Return grids for the operands of the products in each of `modules` (of `model`) that multiplies, by name.

    As `calibrate`. Of modules without products there are none. ValueError for a module of too many.
    """
    images = list(batches)

    def watch(note: Callable[[tuple[str, int], Tensor], None]) -> None:
        _watch_products(model, modules, images, device, note)

    grids = _grids(watch, lambda key: bits[key[0]], rule, what=lambda key: f"what {key[0]} multiplies")
    numbers = {name: sorted(number for owner, number in grids if owner == name) for name in modules}
    for name, found in numbers.items():
        if len(found) > MOST_OPERANDS:
            raise ValueError(
                f"{name or 'the network itself'} multiplies {len(found)} activations with each other, of which no more "
                f"than {MOST_OPERANDS} can be on grids; leave it out: layers={{{name or '…'}: skip}}, or products=false"
            )
    return {
        name: ProductGrids(grids=tuple(grids[name, number] for number in found))
        for name, found in numbers.items()
        if found
    }


def count_inputs(
    model: nn.Module, layers: Mapping[str, nn.Module], images: Tensor, /, *, device: torch.device
) -> dict[str, int]:
    """Return how many activations of one example go into each of `layers` (of `model`), by name.

    images: (n, channels, side, side). 0 for what does not run; what runs several times takes as many in.
    """
    counts = dict.fromkeys(layers, 0)

    def add(name: str, values: Tensor) -> None:
        counts[name] += values.numel()

    _watch(model, layers, [images], device, add)
    return {name: count // len(images) for name, count in counts.items()}


def count_operands(
    model: nn.Module, modules: Mapping[str, nn.Module], images: Tensor, /, *, device: torch.device
) -> dict[str, int]:
    """Return how many activations of one example each of `modules` multiplies with others: see `count_inputs`."""
    counts = dict.fromkeys(modules, 0)

    def add(key: tuple[str, int], values: Tensor) -> None:
        counts[key[0]] += values.numel()

    _watch_products(model, modules, [images], device, add)
    return {name: count // len(images) for name, count in counts.items()}


def first_images(batches: Iterable[tuple[Tensor, Tensor]], n_examples: int, /) -> Iterator[Tensor]:
    """Yield the images of the first `n_examples` examples; of all, where there are fewer."""
    n_left = n_examples
    for images, _targets in batches:
        yield images[:n_left]
        n_left -= len(images)
        if n_left <= 0:
            return


def _watch_products(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    batches: Sequence[Tensor],
    device: torch.device,
    note: Callable[[tuple[str, int], Tensor], None],
) -> None:
    """Run `model` and note each operand of the products in each of `modules`, which have no grids on them."""

    def operand(name: str, number: int, values: Tensor) -> Tensor:
        note((name, number), values.detach().float())
        return values

    with ExitStack() as ends, fast_paths_off():
        for name, module in modules.items():
            multiply_otherwise(module, partial(operand, name))
            ends.callback(run_plainly, module)
        _watch(model, {}, batches, device, lambda *_: None)


def _watch(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    batches: Sequence[Tensor],
    device: torch.device,
    note: Callable[[str, Tensor], None],
) -> None:
    """Run `model` and note the input of each layer."""

    def hook(name: str, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        note(name, input_of(args, kwargs).detach().float())

    model.to(device)
    with evaluating(model), ExitStack() as hooks, torch.inference_mode():
        for name, layer in layers.items():
            handle = layer.register_forward_pre_hook(partial(hook, name), with_kwargs=True)
            hooks.callback(handle.remove)
        for images in batches:
            model(images.to(device))
    model.to("cpu")
