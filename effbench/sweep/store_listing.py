"""What `python -m effbench.store` prints: plain text, the same in a terminal and in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from effbench.checks.sizes import shown_size
from effbench.checks.text import printable
from effbench.run.clearing import Cleared, Clearing
from effbench.run.inventory import Inventory, StoredFile

WORDS = {
    "answers": "answers of commands",
    "models": "networks",
    "tensors": "tensors",
    "checkpoints": "checkpoints of trainings",
    "findings": "findings",
    "runs": "files of results",
    "latency": "latencies",
    "figures": "figures",
    "layouts": "facts about this machine",
    "sweeps": "records of sweeps",
    "output": "tables and figures of sweeps",
    "lock": "locks",
    "part": "parts of entries that were not finished",
    "launcher": "files of launchers",
    "data": "files of decoded data sets",
    "foreign": "files that are not the store's",
}
"""What each kind of file is called."""
_MOST_NAMED = 5


def listing(inventory: Inventory, /) -> Iterator[str]:
    """Yield the lines that say what lies in a store: the sweeps, what they share, what none of them uses."""
    yield f"{inventory.root}: {_summary(inventory.files)}"
    if inventory.sweeps:
        yield ""
        yield from _table(inventory)
    shared = [file for file in inventory.files if len(file.sweeps) > 1]
    if shared:
        yield ""
        yield from _groups("used by several sweeps", _shared(shared, inventory))
    unknown = [
        file
        for file in inventory.files
        if not file.sweeps and file.kind not in ("foreign", "launcher", "layouts", "lock", "data")
    ]
    if unknown:
        yield ""
        yield from _groups(
            "of no known sweep (cleared, or of an earlier version: the same command makes it known)", unknown
        )
    yield ""
    yield from _groups("in all", inventory.files)
    yield from (f"damaged: {printable(line)}" for line in inventory.damaged)
    yield from _named("not the store's", [file for file in inventory.files if file.kind == "foreign"])


def clearing_lines(clearing: Clearing, /) -> Iterator[str]:
    """Yield the lines that say what would go."""
    sweeps = f"{_count(len(clearing.sweeps), 'sweep')} ({', '.join(clearing.sweeps)}), " if clearing.sweeps else ""
    yield f"would clear {sweeps}{_summary(clearing.files)}"
    yield from (f"  {line}" for line in _by_kind(clearing.files))


def cleared_lines(cleared: Cleared, /) -> Iterator[str]:
    """Yield the lines that say what went, and what stayed."""
    yield f"cleared {_count(cleared.n_files, 'file')}, {shown_size(cleared.n_bytes)}"
    yield from (f"sweep {sweep} is under way: it stays" for sweep in cleared.running)
    yield from (f"could not be deleted: {printable(line)}" for line in cleared.errors)


def _table(inventory: Inventory) -> Iterator[str]:
    rows = [("sweep", "points", "bytes", "last used", "command")]
    for record in sorted(inventory.sweeps.values(), key=lambda record: -record.last_used):
        n_done = len(record.points) - len(record.unfinished(inventory.root))
        n_bytes = sum(file.n_bytes for file in inventory.used_only_by(frozenset({record.id})))
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.last_used))
        points = f"{n_done}/{len(record.points)}"
        rows.append((record.id, points, shown_size(n_bytes), used, printable(record.command)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])


def _shared(files: Sequence[StoredFile], inventory: Inventory) -> Iterator[tuple[str, StoredFile]]:
    """Yield the files with what they are: networks of references, of teachers, or something else."""
    teachers = {key for record in inventory.sweeps.values() for key in record.teachers}
    references = {key for record in inventory.sweeps.values() for key in record.references}
    for file in files:
        if file.kind == "models" and file.network in teachers | references:
            yield ("teachers" if file.network in teachers - references else "references"), file
        else:
            yield WORDS[file.kind], file


def _groups(title: str, files: Iterable[StoredFile | tuple[str, StoredFile]]) -> Iterator[str]:
    yield title
    yield from (f"  {line}" for line in _by_kind(files))


def _by_kind(files: Iterable[StoredFile | tuple[str, StoredFile]]) -> Iterator[str]:
    named = [file if isinstance(file, tuple) else (WORDS[file.kind], file) for file in files]
    for kind in dict.fromkeys(sorted(kind for kind, _ in named)):
        yield f"{kind}: {_summary([file for name, file in named if name == kind])}"


def _summary(files: Sequence[StoredFile]) -> str:
    return f"{_count(len(files), 'file')}, {shown_size(sum(file.n_bytes for file in files))}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _named(title: str, files: Sequence[StoredFile]) -> Iterator[str]:
    yield from (f"{title}: {printable(str(file.path))}" for file in files[:_MOST_NAMED])
    if len(files) > _MOST_NAMED:
        yield f"{title}: {len(files) - _MOST_NAMED} more"
