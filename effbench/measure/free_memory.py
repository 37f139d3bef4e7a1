"""How much memory is free to be used, for this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from effbench.checks.sizes import n_bytes

_UNLIMITED = 2**60
"""What control groups without a limit say, at least."""


def free_memory(root: Path = Path("/")) -> int:
    """Return the bytes that this process could take: what the system, its control groups and its own limit leave.

    Files that the system only keeps in case they are read again count as free. root: where /proc and /sys are; where
    there is no /proc, the system is asked in its own way.
    """
    free = [*_of_system(root), *_of_groups(root), *_of_process(root)]
    return max(0, min(free)) if free else int(psutil.virtual_memory().available)


def _of_system(root: Path) -> Iterator[int]:
    with suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            name, _, amount = line.partition(":")
            if name == "MemAvailable":
                yield n_bytes(amount.replace("kB", "KiB"))


def _of_groups(root: Path) -> Iterator[int]:
    """Yield what each control group leaves, of this process' own up to the outermost: version 2, and version 1."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                base = root / "sys/fs/cgroup/memory"
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            else:
                continue
            own = Path(path.lstrip("/"))
            for folder in (own, *own.parents):  # in a container the outermost is its own, whatever the path says
                yield from _left(base / folder, *names)


def _left(group: Path, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # "max" is no number: there is no limit
        most = int((group / limit).read_text())
        used = int((group / usage).read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        if most < _UNLIMITED:
            yield most - used + int(statistics.get(reclaimable, 0))


def _of_process(root: Path) -> Iterator[int]:
    """Yield what the limit of the address space leaves (`ulimit -v`)."""
    with suppress(ImportError, OSError):
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            pages = int((root / "proc/self/statm").read_text().split()[0])
            yield most - pages * resource.getpagesize()
