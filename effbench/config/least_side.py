"""The smallest images that a network takes, as its configuration declares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from effbench.checks.fields import shown


def least_side(model: Mapping[str, Any], /) -> int:
    """Return the least side in pixels that a network takes; 1 where its configuration does not say.

    model: its node, whose `least_side` is a number, or numbers by the option `name`, where one factory has many
    networks. ValueError for what is none.
    """
    declared = model.get("least_side", 1)
    if isinstance(declared, Mapping):
        declared = declared.get(model.get("name"), 1)
    if isinstance(declared, bool) or not isinstance(declared, int) or declared < 1:
        raise ValueError(f"model.least_side={shown(declared)}: must be a whole number of pixels, at least 1")
    return declared
