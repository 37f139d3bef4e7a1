"""What a user wants out of a store: found, then deleted, but nothing that a sweep is at just now."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from effbench.run.entry import entry_lock
from effbench.run.inventory import Inventory, StoredFile

UNUSED, OLDER = "unused", "older="
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Clearing:
    """What is to go: whole sweeps, and the files."""

    sweeps: Sequence[str]
    files: Sequence[StoredFile]

    @property
    def n_bytes(self) -> int:
        """How much room that gives."""
        return sum(file.n_bytes for file in self.files)


@dataclass
class Cleared:
    """What became of it."""

    n_files: int = 0
    n_bytes: int = 0
    running: list[str] = field(default_factory=list)
    """Sweeps that are under way: they stay."""
    errors: list[str] = field(default_factory=list)
    """A line for each file that could not be deleted."""


def choose(inventory: Inventory, what: str, /) -> Clearing:
    """Return what `unused`, `older=30d` or a sweep (its id, or the beginning of it) stands for. ValueError otherwise.

    Of a sweep all goes that no other one uses: results, networks, its answer.
    """
    if what == UNUSED:
        return Clearing((), inventory.unused())
    if what.startswith(OLDER):
        since = time.time() - _seconds(what)
        sweeps = frozenset(record.id for record in inventory.sweeps.values() if record.last_used < since)
        unknown = [file for file in inventory.unused() if not file.sweeps and file.last_used < since]
        return Clearing(sorted(sweeps), [*inventory.used_only_by(sweeps), *unknown])
    found = [sweep for sweep in sorted(inventory.sweeps) if what and sweep.startswith(what)]
    if len(found) != 1:
        listed = ", ".join(found or sorted(inventory.sweeps)) or "none"
        wrong = "is the beginning of several" if found else "there is no such sweep"
        raise ValueError(f"clear={what}: {wrong}; give unused, older=30d or one of these sweeps: {listed}")
    return Clearing(found, inventory.used_only_by(frozenset(found)))


def _seconds(what: str) -> float:
    age = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", what.removeprefix(OLDER))
    if age is None:
        raise ValueError(f"clear={what}: must be an age in hours, days or weeks, as in older=12h, older=30d, older=2w")
    return float(age[1]) * _SECONDS[age[2]]


def clear(inventory: Inventory, clearing: Clearing, /) -> Cleared:
    """Delete the files. Sweeps that are under way, and what is locked, stay."""
    cleared = Cleared()
    with ExitStack() as stack:
        stopped = []
        for sweep in clearing.sweeps:
            try:
                stack.enter_context(entry_lock(inventory.root, f"sweep-{sweep}", waits=False))
                stopped.append(sweep)
            except filelock.Timeout:
                cleared.running.append(sweep)
            except OSError as error:
                cleared.errors.append(f"sweep {sweep}: {error.strerror or error}")
        staying = set(clearing.sweeps) - set(stopped)
        for file in sorted((file for file in clearing.files if not file.sweeps & staying), key=_order):
            _delete(file, inventory, cleared)
        for sweep in stopped:
            with suppress(OSError):
                (inventory.root / "sweeps" / sweep).rmdir()
            with suppress(OSError):
                _lock_path(inventory, f"sweep-{sweep}").unlink()
    return cleared


def _order(file: StoredFile) -> tuple[int, bool]:
    """Have a run's record go first, and that of a sweep last: what is left when this is cut short is still known."""
    return {"sweeps": 1, "lock": 2}.get(file.kind, 0), file.path.suffix != ".json"


def _delete(file: StoredFile, inventory: Inventory, cleared: Cleared) -> None:
    try:
        if file.kind == "lock":
            with entry_lock(inventory.root, file.path.stem, waits=False):
                for path in (file.path, _lock_path(inventory, file.path.stem)):
                    path.unlink(missing_ok=True)
        elif file.network is not None:
            name = f"tensor-{file.path.name}" if file.kind == "tensors" else file.network
            with entry_lock(inventory.root, name, waits=False):
                file.path.unlink(missing_ok=True)
                _lock_path(inventory, name).unlink(missing_ok=True)
        else:
            file.path.unlink(missing_ok=True)
    except filelock.Timeout:  # somebody is at it
        return
    except OSError as error:
        cleared.errors.append(f"{file.path}: {error.strerror or error}")
        return
    cleared.n_files += 1
    cleared.n_bytes += file.n_bytes


def _lock_path(inventory: Inventory, name: str) -> Path:
    return inventory.root / "locks" / f"{name}.lock"
