"""The two networks on which Deep Compression is told (Han et al. 2015, arXiv:1510.00149, section 4.1)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, get_args

from torch import nn

from effbench.models.arguments import require_positive_integers

VERSION = 1  # bumped when equal options build another network

Activation = Literal["none", "relu"]


def lenet_300_100(*, num_classes: int = 10, in_channels: int = 1, input_side: int = 28) -> nn.Sequential:
    """Build the fully connected network 784 → 300 → 100 → 10 (LeCun et al. 1998, section III.C). ReLU between.

    Input (N, in_channels, input_side, input_side). ValueError for a size that is not an integer of at least 1.

    >>> sum(parameter.numel() for parameter in lenet_300_100().parameters())
    266610
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels, input_side=input_side)
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(in_channels * input_side**2, 300),
            relu1=nn.ReLU(),
            fc2=nn.Linear(300, 100),
            relu2=nn.ReLU(),
            classifier=nn.Linear(100, num_classes),
        )
    )


def lenet_5(
    *, num_classes: int = 10, in_channels: int = 1, input_side: int = 28, activation: str = "none"
) -> nn.Sequential:
    """Build Caffe's LeNet (BVLC/caffe, examples/mnist/lenet.prototxt), which is the papers' "LeNet-5".

    Two convolutions 5×5 of 20 and 50 channels without padding, each followed by a max-pooling of 2 and by no
    activation; 500 hidden units with the network's only ReLU. Poolings round up, as Caffe's do.
    `activation="relu"` rectifies after the poolings too, as other writings of the network do: the weights are as many.
    Input (N, in_channels, input_side, input_side). ValueError for a side under 13: nothing would be left of it.

    >>> sum(parameter.numel() for parameter in lenet_5().parameters())
    431080
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels, input_side=input_side)
    if activation not in get_args(Activation):
        raise ValueError(f"activation must be {' or '.join(get_args(Activation))}, got {activation!r}")
    side = _pooled(_pooled(input_side - 4) - 4)
    if side < 1:
        raise ValueError(f"input_side must be at least 13 for lenet_5 (two 5×5 convolutions, pooled), got {input_side}")
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, 20, 5),
        pool1=nn.MaxPool2d(2, ceil_mode=True),
        activation1=nn.ReLU(),
        conv2=nn.Conv2d(20, 50, 5),
        pool2=nn.MaxPool2d(2, ceil_mode=True),
        activation2=nn.ReLU(),
        flatten=nn.Flatten(),
        fc1=nn.Linear(50 * side**2, 500),
        relu1=nn.ReLU(),
        classifier=nn.Linear(500, num_classes),
    )
    if activation == "none":
        del layers["activation1"], layers["activation2"]
    return nn.Sequential(layers)


def _pooled(side: int) -> int:
    """Return the side after a pooling of 2 that rounds up."""
    return (side + 1) // 2
