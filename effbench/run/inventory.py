"""What lies in a store, and which sweeps use it. Files are looked at, but for small ones not read."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from effbench.run.entry import DIGEST_BYTES, read_json_entry
from effbench.run.lease import SUFFIX
from effbench.run.room import files_in, network_of
from effbench.run.sweep_records import SweepRecord, needed_by_unfinished, read_records

ABANDONED_SECONDS = 3600
"""What its writer has not touched for so long was left behind."""
ENTRY_KINDS = (
    "models",
    "tensors",
    "checkpoints",
    "findings",
    "runs",
    "latency",
    "figures",
    "layouts",
    "sweeps",
    "answers",
)
"""Folders of entries."""
_OF_NETWORKS = ("models", "tensors", "checkpoints", "findings")
DRAWN = ("saturation", "nominal")
"""The names of the figures of sweeps, without their formats."""
OTHER_KINDS = ("lock", "part", "output", "launcher", "data", "foreign")
"""What else there is: locks, entries that are being written, sweeps' tables and figures, decoded data sets, what is not
the store's."""
_DECODED = re.compile(r"data/[0-9a-f]{16,32}(\.lock|/about\.json|/[a-z-]+\.bin)")
_NOBODYS = ("foreign", "launcher", "layouts")
"""Kinds that belong to no sweep, and stay: others' files, those of launchers, what is known of this machine."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of the store; `kind` is one of `ENTRY_KINDS` or `OTHER_KINDS`."""

    path: Path
    kind: str
    n_bytes: int
    last_used: float
    """In seconds since 1970."""
    sweeps: frozenset[str]
    """The ids of the sweeps that use it."""
    network: str | None = None
    """The key of the network that it is, or belongs to."""


@dataclass(frozen=True)
class Inventory:
    """The files of a store, and the sweeps that it knows."""

    root: Path
    sweeps: Mapping[str, SweepRecord]
    files: Sequence[StoredFile]
    damaged: Sequence[str]
    """A line for each record that can't be read."""
    needed: frozenset[str] = field(default_factory=frozenset)
    """Networks from which unfinished runs may go on."""

    def used_only_by(self, sweeps: frozenset[str], /) -> list[StoredFile]:
        """Return the files that are used by these sweeps and by no other."""
        return [file for file in self.files if file.sweeps and file.sweeps <= sweeps]

    def unused(self) -> list[StoredFile]:
        """Return what no known sweep has a use for."""
        lasting = {key for record in self.sweeps.values() for key in record.lasting} | self.needed
        return [
            file
            for file in self.files
            if file.kind not in ("foreign", "launcher")
            and not (file.kind == "data" and file.path.suffix == ".lock")  # who waits for it needs it
            and (not file.sweeps or _is_passed(file, lasting) or self._is_left(file))
            and not _is_being_written(file)
        ]

    def _is_left(self, file: StoredFile) -> bool:
        """Whether it is the checkpoint of a training that no unfinished run needs."""
        return file.kind == "checkpoints" and file.network not in self.needed


def take_inventory(root: Path, /) -> Inventory:
    """Return what lies in a store. ValueError where there is none."""
    if not (root / "entries").is_dir():
        raise ValueError(f"store.root={root}: there is no store; a sweep makes one")
    records, damaged = read_records(root)
    sweeps = {record.id: record for record in records}
    users = _Users(root, records)
    files = [
        StoredFile(
            path=path,
            kind=kind,
            n_bytes=status.st_size,
            last_used=status.st_mtime,
            sweeps=users.of(kind, path),
            network=network_of(path.name) if kind in _OF_NETWORKS else None,
        )
        for path, status in files_in(root)
        for kind in (_kind(path.relative_to(root)),)
    ]
    return Inventory(root, sweeps, files, damaged, frozenset(needed_by_unfinished(records, root)))


def _kind(path: Path) -> str:
    """Return what kind of file lies at a path within the store."""
    match path.parts:
        case (_, *_, name) if name.startswith(".") and name.endswith(".part"):
            return "part"
        case ("locks", name) if name.endswith((".lock", SUFFIX)):
            return "lock"
        case ("launcher", *_):
            return "launcher"
        case ("data", *_) if _DECODED.fullmatch("/".join(path.parts)):  # what else lies there may be a user's data
            return "data"
        case ("sweeps", _, _):
            return "output"
        case ("entries", kind, _) if kind in ENTRY_KINDS:
            return kind
    return "foreign"


class _Users:
    """Tells which sweeps use a file."""

    def __init__(self, root: Path, records: Sequence[SweepRecord]) -> None:
        self._root = root
        self._records = records
        self._by_key: dict[str, set[str]] = {}
        for record in records:
            for key in (*record.points, *record.networks):
                self._by_key.setdefault(key, set()).add(record.id)

    def of(self, kind: str, path: Path) -> frozenset[str]:
        """Return the ids of the sweeps that use a file of a kind."""
        match kind:
            case "models" | "tensors" | "checkpoints" | "findings":
                return self._users_of(network_of(path.name))
            case "runs":
                return self._users_of(path.stem)
            case "latency":
                return frozenset(self._measured_by(path))
            case "answers":
                return frozenset(self._answered_by(path))
            case "figures":
                return frozenset(self._shown_by(path))
            case "sweeps":
                return frozenset(record.id for record in self._records if record.id == path.stem)
            case "output":
                return frozenset(record.id for record in self._records if record.id == path.parent.name)
            case "lock":
                name = path.stem.removeprefix("tensor-")
                own = {record.id for record in self._records if name == f"sweep-{record.id}"}
                return self._users_of(network_of(name)) | own
        return frozenset()

    def _users_of(self, key: str) -> frozenset[str]:
        return frozenset(self._by_key.get(key, ()))

    def _measured_by(self, path: Path) -> Iterator[str]:
        """Yield the sweeps that have all the runs of a latency pass."""
        try:
            runs = (read_json_entry(self._root, f"latency/{path.name.partition('.')[0]}.json") or {}).keys()
        except (OSError, ValueError):
            return
        yield from (record.id for record in self._records if runs and runs <= record.points.keys())

    def _answered_by(self, path: Path) -> Iterator[str]:
        """Yield the sweep whose answer this is."""
        try:
            sweep = (read_json_entry(self._root, f"answers/{path.name}") or {}).get("sweep")
        except (OSError, ValueError):
            return
        yield from (record.id for record in self._records if record.id == sweep)

    def _shown_by(self, path: Path) -> Iterator[str]:
        """Yield the sweeps whose answer has this figure."""
        for record in self._records:
            files = [self._root / "sweeps" / record.id / f"{name}{path.suffix}" for name in DRAWN]
            if any(_holds(path, shown) for shown in files):
                yield record.id


def _holds(entry: Path, shown: Path) -> bool:
    """Whether an entry is what a file has, behind its digest."""
    try:
        is_as_long = shown.stat().st_size == entry.stat().st_size - DIGEST_BYTES
        return is_as_long and shown.read_bytes() == entry.read_bytes()[DIGEST_BYTES:]
    except OSError:
        return False


def _is_passed(file: StoredFile, lasting: set[str]) -> bool:
    """Whether it is a network that sweeps have only passed through."""
    return file.kind in ("models", "findings") and file.network not in lasting


def _is_being_written(file: StoredFile) -> bool:
    return file.kind == "part" and time.time() - file.last_used < ABANDONED_SECONDS
