"""Weights of a file, for networks whose factory reads none: options of the network that effbench itself acts upon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from effbench.data.paths import shown
from effbench.models.weights import load_fitting, read_state_dict
from effbench.plan.blueprint import Blueprint, content_of

OPTIONS = ("weights", "weights_entry", "class_rows")
"""The file; where in it the state_dict lies, if there are several; which rows its classifier keeps."""


def split_off(network: Blueprint, /) -> tuple[Blueprint, dict[str, Any]]:
    """Return a network without the options that its factory lacks and effbench acts upon, and these, where they matter.

    A factory with an option `weights` gets it, but torchvision's own, which take no paths. One that takes any keyword
    gets what can't be a file: it may know weights of that name.
    """
    given = network.options.get("weights")
    if "weights" not in network.options or _is_its_own(network, given):
        return network, {}
    ours = {
        n: v for n, v in network.options.items() if n in OPTIONS and (n == "weights" or n not in network.parameters)
    }
    rest = Blueprint(network.target, {n: v for n, v in network.options.items() if n not in ours})
    return rest, {} if given in (None, "none") else ours


def _is_its_own(network: Blueprint, given: Any) -> bool:
    if "weights" in network.parameters:
        return not (network.target.startswith("torchvision.") and may_be_path(given))
    return network.takes_anything and not may_be_path(given)


def give_weights(model: nn.Module, network: Blueprint, /) -> None:
    """Load what a network's options ask for beyond its factory. ValueError where that can't be had, or does not fit."""
    _rest, given = split_off(network)
    if not given:
        return
    origin = str(given["weights"])
    if not may_be_path(origin):
        raise ValueError(
            f"model.weights={shown(origin)}: must be none or a file; {network.target} has no weights of that name"
        )
    state = read_state_dict(origin, entry=given.get("weights_entry"))
    load_fitting(model, state, origin=origin, rows=given.get("class_rows") or ())


def network_identity(network: Blueprint, /) -> dict[str, Any]:
    """Return what tells a network from another: weights count by what is in their file, wherever it lies."""
    rest, given = split_off(network)
    if not given:
        return rest.identity()
    content = content_of(str(Path(given["weights"]).expanduser())) if may_be_path(given["weights"]) else None
    changed = {name: value for name, value in given.items() if value not in (None, [], ()) and name != "weights"}
    return {**rest.identity(), "weights": content, **changed}


def may_be_path(value: Any, /) -> bool:
    """Whether a text may name a file: one that is there, or is written as a path.

    >>> may_be_path("nets/best.pth"), may_be_path("IMAGENET1K_V1")
    (True, False)
    """
    if not isinstance(value, str):
        return False
    try:
        return "/" in value or "\\" in value or Path(value).suffix != "" or Path(value).is_file()
    except (OSError, ValueError):  # a text too long for a path, a zero byte
        return True
