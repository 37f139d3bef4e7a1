"""Octave convolution: a share of the channels at half the side (Chen et al. 2019, arXiv:1904.05049)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

Frequencies = tuple[int, int]
"""How many channels have high frequencies (the map's side) and low ones (half of it, rounded down)."""
Maps = tuple[Tensor | None, Tensor | None]
"""The maps of both: (N, C_high, H, W) and (N, C_low, ⌊H/2⌋, ⌊W/2⌋); None where there are no channels."""


def octave_features(
    widths: Sequence[int], *, share: float, kernel: int, poolings: Sequence[int], sides: Sequence[int], shortcut: bool
) -> nn.Module:
    """Build a stack of octave convolutions between channels `widths`, as `small_layers.features` does plain ones.

    share: of low-frequency channels, rounded half up. The first layer takes only high frequencies, images having no
    others, and the last one gives only these (section 3.3), so that what comes after is as ever. sides: of the maps
    before each layer and after the last. ValueError where no channel would have low frequencies, and where a map has no
    half.
    """
    require_share(share)
    inner = [math.floor(share * width + 0.5) for width in widths[1:-1]]
    if not any(inner):
        raise ValueError(
            f"octave={share}: leaves no channel of {', '.join(map(str, widths[1:-1])) or 'one layer'} with low "
            "frequencies (neither the input nor the last layer's output has any); give more channels or a larger share"
        )
    for number, (low, side) in enumerate(zip(inner, sides[1:-1], strict=True), start=1):
        if low and side < 2:
            raise ValueError(
                f"octave={share}: the map after layer {number} has side {side}, of which there is no half; give a "
                "larger input or fewer poolings"
            )
    lows = [0, *inner, 0]
    frequencies = [(width - low, low) for width, low in zip(widths, lows, strict=True)]
    residual = [shortcut and number > 0 and one == other for number, (one, other) in enumerate(pairwise(frequencies))]
    if shortcut and not any(residual):
        raise ValueError(
            "shortcut=true: no layer keeps its channels of both frequencies; give three that follow each other the same"
        )
    return OctaveFeatures(
        OctaveLayer(n_in, n_out, kernel=kernel, pools=number in poolings, shortcut=adds)
        for number, ((n_in, n_out), adds) in enumerate(zip(pairwise(frequencies), residual, strict=True), start=1)
    )


def require_share(share: float, /) -> None:
    """Refuse what is no share, 0 to 1."""
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    if not is_number or not 0 <= share <= 1:
        raise ValueError(f"octave must be from 0 (none) to 1, the share of low-frequency channels, got {share!r}")


class OctaveFeatures(nn.Module):
    """A stack of `OctaveLayer`s, of which the first takes and the last gives high frequencies alone: (N, C, H, W)."""

    def __init__(self, layers: Iterable[OctaveLayer]) -> None:
        super().__init__()
        for number, layer in enumerate(layers, start=1):
            self.add_module(f"layer{number}", layer)

    def forward(self, images: Tensor) -> Tensor:
        """Return the last layer's maps."""
        maps: Maps = (images, None)
        side = (images.shape[-2], images.shape[-1])
        for layer in self.children():
            maps = layer(maps, side)
            if isinstance(layer, OctaveLayer) and layer.pools:
                side = (side[0] // 2, side[1] // 2)
        high, low = maps
        assert high is not None and low is None, "the last layer gives high frequencies alone"
        return high


class OctaveLayer(nn.Module):
    """An octave convolution (figure 2), and of both frequencies batch norm, maybe the input added, pooling, ReLU.

    Four convolutions (same padding, no bias) lead from the frequencies of the input to those of the output, those for
    which there are channels at both ends: high frequencies are averaged (2 × 2) before one that leads down, low ones
    repeated after one that leads up (section 3.2), and what arrives is added. A share a of low frequencies on both
    sides takes 1 - ¾·a·(2 - a) of the multiply-adds, and 1 - ¾·a of the activations (table 1; of even sides).
    """

    def __init__(self, n_in: Frequencies, n_out: Frequencies, *, kernel: int, pools: bool, shortcut: bool) -> None:
        super().__init__()
        self.paths = nn.ModuleDict()
        for name, n_before, n_after in (
            ("high_high", n_in[0], n_out[0]),
            ("high_low", n_in[0], n_out[1]),
            ("low_high", n_in[1], n_out[0]),
            ("low_low", n_in[1], n_out[1]),
        ):
            if n_before and n_after:
                self.paths[name] = nn.Conv2d(n_before, n_after, kernel, padding=kernel // 2, bias=False)
        self.shrink = nn.AvgPool2d(2)
        self.high, self.low = (_Finish(n, pools=pools, shortcut=shortcut) if n else None for n in n_out)
        self.pools = pools

    def forward(self, maps: Maps, side: tuple[int, int]) -> Maps:
        """Return the maps of both frequencies. side: that of the high ones, whether there are any or not."""
        high, low = maps
        shrunk = self.shrink(high) if high is not None and "high_low" in self.paths else None
        to_low = _sum(self._along("high_low", shrunk), self._along("low_low", low))
        from_low = self._along("low_high", low)
        enlarged = None if from_low is None else F.interpolate(from_low, size=side, mode="nearest")
        to_high = _sum(self._along("high_high", high), enlarged)
        return (
            None if self.high is None else self.high(to_high, high),
            None if self.low is None else self.low(to_low, low),
        )

    def _along(self, path: str, maps: Tensor | None) -> Tensor | None:
        return self.paths[path](maps) if path in self.paths else None


class _Finish(nn.Module):
    """What comes after the convolutions of one frequency: batch norm, maybe the input added, pooling, ReLU."""

    def __init__(self, n: int, *, pools: bool, shortcut: bool) -> None:
        super().__init__()
        rest: list[nn.Module] = [nn.MaxPool2d(2)] if pools else []
        layers = [nn.BatchNorm2d(n), *rest, nn.ReLU(inplace=True)]
        self.norm = nn.Sequential(*(layers[:1] if shortcut else layers))
        self.rest = nn.Sequential(*layers[1:]) if shortcut else None

    def forward(self, made: Tensor, given: Tensor | None) -> Tensor:
        """Return the maps that the layer gives."""
        maps: Tensor = self.norm(made)
        if self.rest is not None and given is not None:
            maps = self.rest(maps + given)
        return maps


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return one + other if one is not None and other is not None else one if other is None else other
