"""The knobs that some of torchvision's networks have: a width multiplier, and poolings that can be moved."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from torch import nn

from effbench.models.arguments import require_width
from effbench.models.downsampling import pooling_layers, sides_of

OWN = "own"
"""As the placement of the poolings: where torchvision has them."""
_MNASNETS = {"mnasnet0_5": 0.5, "mnasnet0_75": 0.75, "mnasnet1_0": 1.0, "mnasnet1_3": 1.3}
WITH_WIDTH = ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", *_MNASNETS)


def check_knobs(name: str, alpha: float, pooling: str | int | Iterable[int], weights: str | None, /) -> None:
    """Refuse a width, or a placement of poolings, that a network or its weights do not have: ValueError."""
    require_width(alpha)
    if alpha != 1 and name not in WITH_WIDTH:
        raise ValueError(f"alpha={alpha}: {name} has no width multiplier; those that have are {', '.join(WITH_WIDTH)}")
    if alpha != 1 and weights not in (None, "none"):
        raise ValueError(f"alpha={alpha}: weights={weights} are those of {name} at alpha=1; give weights=none")
    if pooling != OWN and not name.startswith("vgg"):
        raise ValueError(f"pooling={pooling}: {name} has no poolings that can be moved; vgg11 to vgg19_bn have")


def build_at_width(name: str, alpha: float, /, **options: Any) -> nn.Module:
    """Call torchvision's builder of a network, at `alpha` times its own width."""
    import torchvision  # here, because it takes longer to import than a small sweep takes to plan

    network: nn.Module
    if alpha == 1:
        network = torchvision.models.get_model(name, **options)
    elif name in _MNASNETS:
        network = torchvision.models.MNASNet(_MNASNETS[name] * alpha, **options)
    else:
        network = torchvision.models.get_model(name, width_mult=alpha, **options)
    return network


def move_poolings(network: nn.Module, pooling: str | int | Iterable[int], input_side: int, /) -> None:
    """Move the max-poolings of a VGG (Simonyan and Zisserman 2014, arXiv:1409.1556), in place.

    pooling: after which convolutions they stand, as for `small_cnn`; "early", "even" and "late" place as many as there
    are. Convolutions and norms keep their names, so that weights fit. ValueError where a pooling would have no map.
    """
    blocks: list[OrderedDict[str, nn.Module]] = []
    for name, layer in network.get_submodule("features").named_children():
        if isinstance(layer, nn.Conv2d):
            blocks.append(OrderedDict())
        if not isinstance(layer, nn.MaxPool2d):
            blocks[-1][name] = layer
    n_own = sum(isinstance(layer, nn.MaxPool2d) for layer in network.get_submodule("features").children())
    pooled = pooling_layers(pooling, n_layers=len(blocks), n_poolings=n_own)
    sides_of(pooled, input_side, n_layers=len(blocks))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, block in enumerate(blocks, start=1):
        layers.update(block)
        if number in pooled:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
    network.features = nn.Sequential(layers)
