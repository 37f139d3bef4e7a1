"""Whose runs are whose: the owners of a sweep, by the tags of its parent."""

from __future__ import annotations

from collections.abc import Mapping

from effbench.checks.owner import Owner, read_beat
from effbench.tracking.names import OWNER


def tag_of(owner: Owner, /) -> str:
    """Return the name of the parent's tag that says when an owner was last heard of."""
    return f"{OWNER}/{owner.digest}"


def living(tags: Mapping[str, str], now: float, /) -> set[Owner]:
    """Return the owners that the tags of a parent name and that are alive at a time."""
    marks = [read_beat(value) for name, value in tags.items() if name.startswith(f"{OWNER}/")]
    return {owner for owner, heard in filter(None, marks) if owner.is_alive(heard, now)}
