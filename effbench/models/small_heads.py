"""What `small_cnn` makes classes of: an average and one linear layer, several linear layers, or a convolution."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, get_args

from torch import nn

from effbench.models.arguments import hidden_widths, require_choice
from effbench.models.pooling import GlobalAveragePool

Head = Literal["gap", "flatten", "linear", "conv"]
HIDDEN = 500
"""Units of the hidden layer, unless others are asked for: as many as LeNet-5 has."""


def check_head(head: str, hidden: int | str | Iterable[int], /) -> None:
    """Refuse a head that there is not, and hidden layers for one that has none: ValueError."""
    require_choice(head, get_args(Head), name="head")
    widths = hidden_widths(hidden)
    if head != "linear" and widths != (HIDDEN,):
        raise ValueError(
            f"hidden={'-'.join(map(str, widths))}: head={head} has no hidden layer; give head=linear "
            "(axis: classifier=linear)"
        )


def head_layers(
    head: str, *, n_in: int, side: int, hidden: int | str | Iterable[int], num_classes: int
) -> OrderedDict[str, nn.Module]:
    """Build the layers of a head, by their names, for maps (N, n_in, side, side); they give (N, num_classes).

    "conv" is a 1 × 1 convolution to a map for each class, ReLU, and the average of each map (Lin et al. 2013,
    arXiv:1312.4400, section 3.2): without the ReLU it would be "gap", at more multiply-adds.
    """
    if head == "conv":
        return OrderedDict(
            classifier=nn.Conv2d(n_in, num_classes, 1),
            relu=nn.ReLU(inplace=True),
            pool=GlobalAveragePool(),
            flatten=nn.Flatten(),
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        pool=GlobalAveragePool() if head == "gap" else nn.Identity(), flatten=nn.Flatten()
    )
    widths = [n_in if head == "gap" else n_in * side**2, *(hidden_widths(hidden) if head == "linear" else ())]
    for number, (before, after) in enumerate(pairwise(widths), start=1):
        layers[f"fc{number}"] = nn.Linear(before, after)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
    layers["classifier"] = nn.Linear(widths[-1], num_classes)
    return layers
