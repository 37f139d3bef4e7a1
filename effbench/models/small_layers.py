"""The convolutional layers of `small_cnn` in their forms: kernels, separable, grouped, shuffled, with shortcuts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from torch import Tensor, nn

from effbench.models.arguments import require_choice, require_flags, require_positive_integers

Form = Literal["standard", "separable", "grouped", "shuffle"]
GROUPS = 4
"""Of grouped convolutions, unless others are asked for."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """How the layers of a stack of convolutions are made. ValueError for what can't be, or can't be together."""

    kernel: int | str = 3
    """Side of the kernels, odd; "3x1": 3 × 1, then 1 × 3."""
    conv: str = "standard"
    """standard, separable, grouped, or shuffle: grouped, with a channel shuffle between those that follow another."""
    groups: int = GROUPS
    """Of a grouped convolution; where its channels can't be divided so, the most groups below that can."""
    shuffle: bool = False
    """Whether grouped convolutions are shuffled."""
    shortcut: bool = False
    """Whether layers that keep the number of channels add their input to the output, before pooling and ReLU."""

    def __post_init__(self) -> None:
        """Check the fields, and those that mean nothing without others."""
        kernel_sizes(self.kernel)
        require_choice(self.conv, get_args(Form), name="conv")
        require_positive_integers(groups=self.groups)
        require_flags(shuffle=self.shuffle, shortcut=self.shortcut)
        if not self.is_grouped and self.groups != GROUPS:
            raise ValueError(f"groups={self.groups}: conv={self.conv} has none; give conv=grouped or conv=shuffle")
        if not self.is_grouped and self.shuffle:
            raise ValueError(f"shuffle=true: conv={self.conv} has no groups to shuffle; give conv=shuffle")
        if self.groups == 1 and self.shuffles:
            raise ValueError("groups=1 can't be shuffled: one group holds all channels; give more, or conv=grouped")

    @property
    def is_grouped(self) -> bool:
        """Whether convolutions are divided into groups."""
        return self.conv in ("grouped", "shuffle")

    @property
    def shuffles(self) -> bool:
        """Whether channels are shuffled between grouped convolutions."""
        return self.conv == "shuffle" or self.shuffle

    @property
    def is_plain(self) -> bool:
        """Whether every layer is one whole convolution with a square kernel."""
        return self.conv == "standard" and len(kernel_sizes(self.kernel)) == 1

    def groups_of(self, n_in: int, n_out: int) -> int:
        """Return into how many groups a convolution between so many channels is divided.

        >>> [Layers(conv="grouped", groups=4).groups_of(*ends) for ends in ((8, 16), (6, 9), (5, 7))]
        [4, 3, 1]
        """
        if not self.is_grouped:
            return 1
        return max(groups for groups in range(1, self.groups + 1) if n_in % groups == 0 and n_out % groups == 0)


def features(widths: Sequence[int], *, form: Layers, poolings: Collection[int]) -> nn.Sequential:
    """Build the layers between channels `widths` and the poolings after some of them, numbered from 1.

    The first layer is neither separable nor grouped, as in MobileNet and ShuffleNet: images have too few channels to be
    taken one by one. Nor has it a shortcut. ValueError where groups or shortcuts are asked for and no layer can have
    them.
    """
    groups = [1, *(form.groups_of(*ends) for ends in pairwise(widths[1:]))]
    if form.is_grouped and form.groups not in groups:
        shown = ", ".join(map(str, widths[1:]))
        raise ValueError(f"groups={form.groups} divides no layer of channels {shown}; the first layer has one group")
    residual = [form.shortcut and n_in == n_out for n_in, n_out in pairwise(widths)]
    if form.shortcut and not any(residual[1:]):
        raise ValueError(
            f"shortcut=true: no layer keeps its number of channels ({', '.join(map(str, widths[1:]))}); give two that "
            "follow each other the same"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (n_in, n_out) in enumerate(pairwise(widths), start=1):
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if form.shuffles and number > 1 and min(groups[number - 2 : number]) > 1:
            parts[f"shuffle{number}"] = nn.ChannelShuffle(groups[number - 2])
        is_separable = form.conv == "separable" and number > 1
        parts[f"conv{number}"] = convolution(
            n_in, n_out, kernel=form.kernel, groups=groups[number - 1], separable=is_separable
        )
        parts[f"norm{number}"] = nn.BatchNorm2d(n_out)
        if number > 1 and residual[number - 1]:
            parts = OrderedDict({f"residual{number}": Residual(parts)})
        layers.update(parts)
        if number in poolings:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        # After the pooling: the largest of the rectified is the rectified largest, on a quarter of the values.
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


class Residual(nn.Module):
    """Adds its input (N, C, H, W) to what its layers make of it (He et al. 2015, arXiv:1512.03385, section 3.2)."""

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the sum."""
        total: Tensor = maps + self.layers(maps)
        return total


def kernel_sizes(kernel: int | str, /) -> tuple[tuple[int, int], ...]:
    """Return the (height, width) of each convolution of a kernel: of 3 or "3" one, of "3x1" two. ValueError else.

    >>> kernel_sizes("5"), kernel_sizes("3x1")
    (((5, 5),), ((3, 1), (1, 3)))
    """
    text, is_split = (kernel.removesuffix("x1"), kernel.endswith("x1")) if isinstance(kernel, str) else ("", False)
    if isinstance(kernel, str) and not (text.isdecimal() and not (is_split and text == "1")):
        raise ValueError(f"kernel must be an odd number, or such as 3x1 (3 × 1, then 1 × 3), got {kernel!r}")
    side = int(text) if isinstance(kernel, str) else kernel
    require_positive_integers(kernel=side)
    if side % 2 == 0:
        raise ValueError(f"kernel must be odd (same padding keeps the side), got {kernel}")
    return ((side, 1), (1, side)) if is_split else ((side, side),)


def convolution(n_in: int, n_out: int, *, kernel: int | str, groups: int = 1, separable: bool = False) -> nn.Module:
    """Build a convolution (same padding, no bias), or the two or three that stand for one.

    As everywhere in this network each convolution has its batch norm and ReLU, those within included: so has MobileNet
    (arXiv:1704.04861, figure 3) between depthwise and pointwise, and of kernels that are split Szegedy et al. 2015
    (arXiv:1512.00567, section 3.1) found ReLU between them always better than none. Of the last one they come after.
    """
    sizes = kernel_sizes(kernel)
    if len(sizes) == 1 and not separable:
        return nn.Conv2d(n_in, n_out, sizes[0], padding=sizes[0][0] // 2, groups=groups, bias=False)
    names = ["vertical", "horizontal"] if len(sizes) > 1 else ["depthwise"]
    n_inner = n_in if separable else n_out
    ends = [(n_in, n_inner), *[(n_inner, n_inner)] * (len(sizes) - 1)]
    n_groups = [n_in if separable else groups] * len(sizes)
    if separable:
        names, ends, n_groups, sizes = [*names, "pointwise"], [*ends, (n_in, n_out)], [*n_groups, 1], (*sizes, (1, 1))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, (before, after), size, n in zip(names, ends, sizes, n_groups, strict=True):
        if layers:
            layers[f"norm{len(layers) // 3 + 1}"] = nn.BatchNorm2d(before)
            layers[f"relu{len(layers) // 3 + 1}"] = nn.ReLU(inplace=True)
        padding = (size[0] // 2, size[1] // 2)
        layers[name] = nn.Conv2d(before, after, size, padding=padding, groups=n, bias=False)
    return nn.Sequential(layers)
