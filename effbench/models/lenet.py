"""The two networks on which Deep Compression is told (Han et al. 2015, arXiv:1510.00149, section 4.1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal, get_args

from torch import nn

from effbench.models.arguments import hidden_widths, require_positive_integers
from effbench.models.haar import split_input, splitting

VERSION = 1  # bumped when equal options build another network

Activation = Literal["none", "relu"]


def lenet_300_100(
    *,
    hidden: int | str | Iterable[int] = (300, 100),
    bands: str = "none",
    num_classes: int = 10,
    in_channels: int = 1,
    input_side: int = 28,
) -> nn.Sequential:
    """Build the fully connected network 784 → 300 → 100 → 10 (LeCun et al. 1998, section III.C). ReLU between.

    Input (N, in_channels, input_side, input_side). hidden: the widths of the two hidden layers, as in "300-100"; one
    number is that of both. bands: what it takes in, as for `small_cnn`. ValueError for a size that is not an integer of
    at least 1.

    >>> sum(parameter.numel() for parameter in lenet_300_100().parameters())
    266610
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels, input_side=input_side)
    first, second = hidden_widths(hidden, n_layers=2)
    n_taken, side = split_input(bands, in_channels, input_side)
    return nn.Sequential(
        OrderedDict(
            **splitting(bands),
            flatten=nn.Flatten(),
            fc1=nn.Linear(n_taken * side**2, first),
            relu1=nn.ReLU(),
            fc2=nn.Linear(first, second),
            relu2=nn.ReLU(),
            classifier=nn.Linear(second, num_classes),
        )
    )


def lenet_5(
    *,
    hidden: int | str | Iterable[int] = 500,
    bands: str = "none",
    num_classes: int = 10,
    in_channels: int = 1,
    input_side: int = 28,
    activation: str = "none",
) -> nn.Sequential:
    """Build Caffe's LeNet (BVLC/caffe, examples/mnist/lenet.prototxt), which is the papers' "LeNet-5".

    Two convolutions 5×5 of 20 and 50 channels without padding, each followed by a max-pooling of 2 and by no
    activation; `hidden` units with the network's only ReLU. Poolings round up, as Caffe's do.
    `activation="relu"` rectifies after the poolings too, as other writings of the network do: the weights are as many.
    Input (N, in_channels, input_side, input_side). bands: what it takes in, as for `small_cnn`. ValueError for a side
    under 13 (of bands: 25), of which nothing would be left.

    >>> sum(parameter.numel() for parameter in lenet_5().parameters())
    431080
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels, input_side=input_side)
    if activation not in get_args(Activation):
        raise ValueError(f"activation must be {' or '.join(get_args(Activation))}, got {activation!r}")
    (width,) = hidden_widths(hidden, n_layers=1)
    n_taken, taken_side = split_input(bands, in_channels, input_side)
    side = _pooled(_pooled(taken_side - 4) - 4)
    if side < 1:
        least = 13 if bands == "none" else 25
        raise ValueError(
            f"input_side must be at least {least} for lenet_5 (two 5×5 convolutions, pooled; bands={bands}), "
            f"got {input_side}"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        **splitting(bands),
        conv1=nn.Conv2d(n_taken, 20, 5),
        pool1=nn.MaxPool2d(2, ceil_mode=True),
        activation1=nn.ReLU(),
        conv2=nn.Conv2d(20, 50, 5),
        pool2=nn.MaxPool2d(2, ceil_mode=True),
        activation2=nn.ReLU(),
        flatten=nn.Flatten(),
        fc1=nn.Linear(50 * side**2, width),
        relu1=nn.ReLU(),
        classifier=nn.Linear(width, num_classes),
    )
    if activation == "none":
        del layers["activation1"], layers["activation2"]
    return nn.Sequential(layers)


def _pooled(side: int) -> int:
    """Return the side after a pooling of 2 that rounds up."""
    return (side + 1) // 2
