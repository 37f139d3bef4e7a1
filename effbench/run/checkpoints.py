"""Where a training is: kept in the store while it goes on, so that one that is ended goes on from its last epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import filelock
import torch
from safetensors import SafetensorError

from effbench.checks.errors import kind_and_line
from effbench.run.entry import entry_lock, entry_path
from effbench.run.packing import pack, unpack
from effbench.run.store import Store

log = logging.getLogger(__name__)

FOLDER = "checkpoints"
"""Of their entries: the key of the step that trains, and which of its trainings it is."""
VERSION = 1
"""Of what they hold."""
MOST_SHARE = 0.05
"""Of the time that may go into writing them, where that takes longer than they are apart."""

_said: set[str] = set()


@dataclass
class Checkpoints:
    """Those of one training. seconds: the least time between two of them; None: none are written, nor read."""

    store: Store
    name: str
    device: torch.device
    seconds: float | None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """Note the time: the first is written so long after the training began."""
        self._next_at = self.clock() + (self.seconds or 0.0)

    @classmethod
    def of(cls, store: Store, key: str, part: int, /, *, device: torch.device, seconds: float | None) -> Checkpoints:
        """Return those of a training of the step that makes the network with that key."""
        return cls(store, f"{FOLDER}/{key}-{part}", device, seconds)

    def read(self) -> dict[str, Any] | None:
        """Return what was kept last; None where that is nothing, or, which is said, can't be gone on from here."""
        content = None if self.seconds is None else self.store.get(self.name)
        if content is None:
            return None
        try:
            kept = unpack(content)
            version, device = kept["version"], kept["device"]
            if version != VERSION or device != self.device.type:
                raise ValueError(f"it is of version {version}, on {device}")
        except (ValueError, KeyError, TypeError) as error:
            self.store.give_up(self.name, kind_and_line(error))
            return None
        return dict(kept)

    def offer(self, make: Callable[[], Mapping[str, Any]]) -> None:
        """Write what `make` gives, if it is time; where that can't be done it is said once, and nothing else."""
        if self.seconds is None or self.clock() < self._next_at:
            return
        began = self.clock()
        try:
            content = pack({"version": VERSION, "device": self.device.type, **make()})
            self.store.put_snapshot(self.name, content)
        except (OSError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            why = kind_and_line(error)
            if why not in _said:
                _said.add(why)
                log.warning("%s: a checkpoint can't be kept (%s); the training goes on", self.name, why)
        ended = self.clock()
        self._next_at = ended + max(self.seconds, (ended - began) / MOST_SHARE)


def has_checkpoint(key: str, store: Store, /) -> bool:
    """Whether the step that makes the network with that key has one, of its first training or of a later one."""
    return any(entry_path(store.root, FOLDER).glob(f"{key}-*"))


def delete_checkpoints(key: str, store: Store, /) -> None:
    """Delete the checkpoints of the step that makes the network with that key, whose lock is held."""
    for path in entry_path(store.root, FOLDER).glob(f"{key}-*"):
        with suppress(OSError):  # somebody else's
            path.unlink(missing_ok=True)


def drop_checkpoints(key: str, store: Store, /) -> None:
    """Delete the checkpoints of the step that makes the network with that key, unless it is being made just now."""
    with suppress(OSError, filelock.Timeout), entry_lock(store.root, key, waits=False):
        delete_checkpoints(key, store)
