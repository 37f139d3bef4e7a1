"""Any classification network of torchvision by name, with its classifier fitted to the data's classes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from effbench.models.arguments import require_positive_integers
from effbench.models.torchvision_knobs import OWN, build_at_width, check_knobs, move_poolings
from effbench.models.torchvision_weights import download, is_torchvisions, names_weights, renamed, without_prefix
from effbench.models.weights import load_fitting, read_state_dict

VERSION = 1  # bumped when equal options build another network


def torchvision_model(
    *,
    name: str,
    alpha: float = 1.0,
    pooling: str | int | Iterable[int] = OWN,
    weights: str | None = "none",
    weights_entry: str | None = None,
    class_rows: Sequence[int] = (),
    num_classes: int = 1000,
    in_channels: int = 3,
    input_side: int = 224,
) -> nn.Module:
    """Build a torchvision classification network. Input (N, in_channels, H, W).

    Parameters
    ----------
    name
        As in `torchvision.models.list_models`: "mobilenet_v2", "resnet50", …
    alpha
        Width multiplier of the networks that have one: mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small, and the
        mnasnets, of whose own it is a multiple (mnasnet1_0 at 0.5 is mnasnet0_5).
    pooling
        Of the vgg networks, after which convolutions the poolings stand: "early", "even" or "late", as many as there
        are, or the convolutions' numbers from 1, as in "2-4-7". "own": where torchvision has them.
    weights
        "none": fresh weights. "default", or a name such as "IMAGENET1K_V1": torchvision's, downloaded on first use.
        Otherwise the path of a file with a state_dict of this network, trained for any number of classes. Classifier
        tensors for another number of classes keep their fresh values; anything else that does not fit is an error.
    weights_entry
        Under which key the file holds its state_dict, where there are several.
    class_rows
        The rows of the weights' classifier that are kept, one for each class of the data: the classes of the weights.
    in_channels
        3, or 1: grey images are then repeated to three channels inside the network. Its state_dict is the same.
    input_side
        Read by the networks whose tensors depend on it (the vit and maxvit families); the others take any side that
        leaves something to pool.

    googlenet and inception_v3 come without their auxiliary heads.

    Raises
    ------
    ValueError
        For an unknown name (the known ones are listed), other channels than 1 and 3, a side that the network refuses,
        weights that are missing, are no state_dict or do not fit, and a width or poolings that the network has not.

    Examples
    --------
    >>> import torch
    >>> network = torchvision_model(name="squeezenet1_1", num_classes=10, in_channels=1).eval()
    >>> network(torch.zeros(1, 1, 64, 64)).shape
    torch.Size([1, 10])
    """
    require_positive_integers(num_classes=num_classes, input_side=input_side)
    if in_channels not in (1, 3):
        raise ValueError(f"in_channels must be 3, or 1 (grey, repeated to three) for {name}, got {in_channels!r}")
    _require_known(name)
    check_knobs(name, alpha, pooling, weights)
    network = _build(name, input_side, alpha, num_classes=num_classes, **_without_auxiliary_heads(name))
    if pooling != OWN:
        move_poolings(network, pooling, input_side)
    origin = str(weights)
    if names_weights(name, weights):
        pretrained = _pretrained(name, without_prefix(origin), input_side)
        if hasattr(pretrained, "transform_input"):
            network.transform_input = pretrained.transform_input
        load_fitting(network, pretrained.state_dict(), origin=f"torchvision's weights {origin}", rows=class_rows)
    elif weights not in (None, "none"):
        state = renamed(name, read_state_dict(origin, entry=weights_entry))
        if hasattr(network, "transform_input") and is_torchvisions(name, origin):
            setattr(network, "transform_input", True)  # noqa: B010 - these weights were trained on images of another normalisation
        load_fitting(network, state, origin=origin, rows=class_rows, ignored=_HEADS)
    if in_channels == 1:
        network.register_forward_pre_hook(_repeat_grey)
    return network


def _require_known(name: str) -> None:
    """Raise a ValueError that lists the networks and suggests one, if `name` is not among them."""
    import torchvision  # here, because it takes longer to import than a small sweep takes to plan

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        close = difflib.get_close_matches(str(name), known, n=1)
        suggestion = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"torchvision has no classification network {name!r}: {suggestion}Known: {', '.join(known)}")


def _without_auxiliary_heads(name: str) -> dict[str, bool]:
    """Return the options that build googlenet and inception_v3 as one plain network, without torchvision's warning."""
    return {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}


_HEADS = ("aux1.", "aux2.", "AuxLogits.")
"""Where the tensors of auxiliary heads lie, of googlenet and of inception_v3."""


def _pretrained(name: str, weights: str, input_side: int) -> nn.Module:
    """Return torchvision's own 1000-class network with weights of a name, without auxiliary heads."""
    network = download(name, weights, lambda: _build(name, input_side, 1, weights=weights))
    for head in _HEADS:
        if hasattr(network, head[:-1]):
            setattr(network, head[:-1], None)
    return network


def _build(name: str, input_side: int, alpha: float, **options: Any) -> nn.Module:
    """Call torchvision's builder, telling it the side where it asks for it. A side that it refuses is a ValueError."""
    if name.startswith("vit_"):
        options["image_size"] = input_side
    elif name.startswith("maxvit_"):
        options["input_size"] = (input_side, input_side)
    try:
        return build_at_width(name, alpha, **options)
    except (AssertionError, ValueError) as error:
        raise ValueError(f"{name} can't be built for input_side {input_side}: {error}") from error


def _repeat_grey(_network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Let the three channels of (N, 3, H, W) share the one of (N, 1, H, W).

    A hook and not a wrapping module: the state_dict keeps torchvision's names, so that weights fit either way.
    """
    images, *others = inputs
    return (images.expand(-1, 3, *images.shape[2:]) if images.shape[1] == 1 else images, *others)
