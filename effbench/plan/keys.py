"""Keys: digests of what decides a result. Equal content, equal key; a key holds all that came before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Identified(Protocol):
    """A step, or several of them."""

    def identity(self) -> dict[str, Any]:
        """Return what decides the result, given the network that it receives."""


def digest(content: Mapping[str, Any], /) -> str:
    """Return a key for JSON-able content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()[:20]


def prefix_keys(root: Mapping[str, Any], steps: Sequence[Identified], /) -> tuple[str, ...]:
    """Return the key of the fresh network and of the network after each step."""
    fresh = digest(root)
    return (fresh, *prefix_keys_after(fresh, steps))


def prefix_keys_after(key: str, steps: Sequence[Identified], /) -> tuple[str, ...]:
    """Return the key of the network after each step, where that before the first one has `key`."""
    keys = [key]
    for step in steps:
        keys.append(digest({"after": keys[-1], **step.identity()}))
    return tuple(keys[1:])


def seed_of(seed: int, purpose: str) -> int:
    """Return a seed for one purpose, unrelated to the seeds for others."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:7], "big")
