"""Which sweeps use which entries of a store: a small record of each, known without planning it again."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from effbench.run.entry import entry_path, read_json_entry

VERSION = 1
FOLDER = "sweeps"
"""Of their entries."""
_GROUPS = ("lasting", "references", "teachers")


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """A sweep by its id, and what it uses. Networks are named by their keys."""

    id: str
    command: str
    points: Mapping[str, tuple[str, ...]]
    """For each run, by its key, the networks from which it may go on."""
    lasting: frozenset[str]
    """Networks that stay when the sweep is done."""
    references: frozenset[str]
    """Those of its references."""
    teachers: frozenset[str]
    last_used: float = 0.0
    """In seconds since 1970: when a command last began or ended it."""

    @cached_property
    def networks(self) -> frozenset[str]:
        """Every network that it may use."""
        return frozenset(key for keys in self.points.values() for key in keys)

    def unfinished(self, root: Path, /) -> list[str]:
        """Return the keys of the runs that have no result yet."""
        return [key for key in self.points if not entry_path(root, f"runs/{key}.json").exists()]

    def to_plain(self) -> dict[str, Any]:
        """Return the record as JSON-able data."""
        groups = {name: sorted(getattr(self, name)) for name in _GROUPS}
        points = {key: list(networks) for key, networks in self.points.items()}
        return {"version": VERSION, "id": self.id, "command": self.command, "points": points, **groups}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], /) -> SweepRecord:
        """Return what `to_plain` wrote. ValueError for anything else."""
        try:
            if plain["version"] != VERSION:
                raise ValueError(f"version {plain['version']} of sweeps' records is not known here")
            lasting, references, teachers = (frozenset(map(str, plain[name])) for name in _GROUPS)
            return cls(
                id=str(plain["id"]),
                command=str(plain["command"]),
                points={str(key): tuple(map(str, networks)) for key, networks in plain["points"].items()},
                lasting=lasting,
                references=references,
                teachers=teachers,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"is no sweep's record ({error})") from None


def read_records(root: Path, /) -> tuple[list[SweepRecord], list[str]]:
    """Return the records of a store, and a line for each that can't be read. A file is read once, until it changes."""
    records, damaged = [], []
    for path in sorted(entry_path(root, FOLDER).glob("*.json")):
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("is no file")
            record = _read(root, path.name, status.st_mtime_ns, status.st_size)
        except FileNotFoundError:  # it was cleared
            continue
        except (OSError, ValueError) as error:
            damaged.append(f"{path}: {str(error).removeprefix(f'{path} ')}")
        else:
            records.append(replace(record, last_used=status.st_mtime))
    return records, damaged


@lru_cache(maxsize=4096)
def _read(root: Path, name: str, _written: int, _size: int) -> SweepRecord:
    plain = read_json_entry(root, f"{FOLDER}/{name}")
    if plain is None:
        raise FileNotFoundError(name)
    return SweepRecord.from_plain(plain)


def needed_by_unfinished(records: list[SweepRecord], root: Path, /) -> set[str]:
    """Return the networks that runs without a result may go on from."""
    return {network for record in records for key in record.unfinished(root) for network in record.points[key]}
