"""Points run as jobs of a launcher, all at once; what they tell comes through the store, as do their results.

Nothing is launched in waves: a run that needs what another one is making waits for that one's lease, and goes on as
soon as that very network is kept. What others need comes first, so that nobody waits for a job that is not begun.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from effbench.checks.owner import Owner
from effbench.plan.point import Point
from effbench.run.executors import run_here
from effbench.run.interruption import check
from effbench.run.job import Job
from effbench.run.letters import BEGAN, ENDED, EPOCH, FAILED, STARTED, STEP, LetterReader
from effbench.run.order import first_things_first
from effbench.run.outcomes import Observer, Outcome, Outcomes, RunError
from effbench.run.parcel import Parcel, seal
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.run.times import Times

FOLDER = "launcher"
"""Within the store: a folder for each command, as long as its jobs run."""
_OWNER = "owner"
PAUSE_SECONDS = 0.1
LAG_SECONDS = 60
"""How long a result may take from one machine's view of the store to another's."""


class Backend(Protocol):
    """What runs jobs."""

    def start(self, jobs: Sequence[Job], parcel: Parcel, folder: Path) -> None:
        """Launch the jobs; folder: for files of its own. `CannotBegin` where none can be launched."""

    def ended(self) -> Iterator[tuple[str, RunError | bool]]:
        """Yield jobs that ended since it was last asked, by their keys, with what they returned."""

    def close(self) -> None:
        """End what is still under way, and let go of what was begun for it."""


def run_by(
    backend: Backend,
    points: Sequence[Point],
    store: Store,
    device: torch.device,
    observer: Observer,
    /,
    *,
    timeout: float | None = None,
    is_apart: bool = False,
    with_environment: bool = True,
    caller: Owner | None = None,
) -> Outcomes:
    """Run the points as jobs; yield each as it is done. Those that the store has are no jobs.

    The jobs are launched when this returns. is_apart and caller as `Job` has them; with_environment: whether variables
    travel with the jobs.
    """
    shared = replace(store, root=store.root.resolve())
    parcel = Parcel.of(points, with_environment=with_environment)

    def job(point: Point, letters: Path) -> Job:
        return Job(
            key=point.key,
            name=str(point),
            point=seal(point),
            store=shared,
            device=str(device),
            letters=letters / f"{point.key}.jsonl",
            timeout=timeout,
            is_apart=is_apart or timeout is not None,
            caller=caller,
        )

    runs = _Launched(backend, shared, device, observer).run(points, parcel, job)
    next(runs)
    return cast(Outcomes, runs)


@dataclass
class _Launched:
    """Jobs under way."""

    backend: Backend
    store: Store
    device: torch.device
    observer: Observer
    _open: dict[str, Point] = field(default_factory=dict)
    _readers: dict[str, LetterReader] = field(default_factory=dict)
    _started: set[str] = field(default_factory=set)
    _begun: Counter[str] = field(default_factory=Counter)
    """How often a job was begun: one whose machine was lost finds what it had kept itself."""
    _told: set[tuple[object, ...]] = field(default_factory=set)
    _began: dict[str, float] = field(default_factory=dict)
    """When runs were begun to be computed, by their keys: those whose process or machine is gone can't say it."""

    def run(
        self, points: Sequence[Point], parcel: Parcel, job: Callable[[Point, Path], Job]
    ) -> Generator[tuple[Point, Outcome] | None, None, None]:
        """Yield None as soon as the jobs are launched, then each point with its result."""
        kept = {point.key for point in points if load_result(point.key, self.store) is not None}
        missing = first_things_first([point for point in points if point.key not in kept])
        if missing:
            clear_away(self.store.root)
            folder = self.store.root / FOLDER / f"{Owner.here().digest}-{secrets.token_hex(4)}"
            folder.mkdir(parents=True)
        try:
            if missing:
                (folder / _OWNER).write_text(str(Owner.here()))
                jobs = [job(point, folder) for point in missing]
                self._open = {point.key: point for point in missing}
                self._readers = {one.key: LetterReader(one.letters) for one in jobs}
                self.backend.start(jobs, parcel, folder)
            yield None
            yield from run_here([p for p in points if p.key in kept], self.store, self.device, self.observer)
            yield from self._follow()
        finally:
            if missing:
                self.backend.close()
                _delete(folder)

    def _follow(self) -> Outcomes:
        """Pass on what jobs tell until all are done; yield each with its result."""
        while self._open:
            check()
            returned = dict(self.backend.ended())  # before the letters: what it has written is there then
            for key in list(self._open):
                ended = self._read(key)
                if ended is None and key in returned:
                    ended = returned[key]
                if ended is not None:
                    point = self._open.pop(key)
                    outcome = (
                        self._failed(key, ended) if isinstance(ended, RunError) else self._result(key, was_kept=ended)
                    )
                    self._start(point)
                    self.observer.run_computed(point)
                    yield point, outcome
            time.sleep(PAUSE_SECONDS)

    def _read(self, key: str) -> RunError | bool | None:
        """Pass on a job's letters; return how it ended, None while it goes on."""
        point = self._open[key]
        ended: RunError | bool | None = None
        for kind, *rest in self._readers[key].read():
            self._begun[key] += kind == STARTED
            if kind in (STARTED, BEGAN, STEP, EPOCH):
                self._start(point)
            if kind == BEGAN:
                self._began[key] = rest[0]
                self.observer.run_began(point, rest[0])
            elif kind == STEP:
                self.observer.step(point, *rest)
            elif kind == EPOCH:
                self._tell(point, rest[0])
            elif kind == ENDED:
                ended = bool(rest[0])
            elif kind == FAILED:
                message, trace, errno, times = rest
                ended = RunError(message, trace, errno, Times.of_plain(times))
        return ended

    def _start(self, point: Point) -> None:
        if point.key not in self._started:
            self._started.add(point.key)
            self.observer.run_started(point)

    def _failed(self, key: str, error: RunError) -> RunError:
        """Return an error with the times of its run, as far as they are known."""
        if error.times is not None or key not in self._began:
            return error
        return RunError(str(error), error.trace, error.errno, Times.since(self._began[key]))

    def _tell(self, point: Point, row: dict[str, Any]) -> None:
        """Tell of an epoch, unless a job told of it that was begun anew since."""
        place = (point.key, row.get("curve"), row.get("step"), row.get("epoch"))
        if place not in self._told:
            self._told.add(place)
            self.observer.epoch_ended(point, row)

    def _result(self, key: str, *, was_kept: bool) -> Outcome:
        """Return what the store has of a job that ended well. was_kept: whether its last process found it there."""
        deadline = time.monotonic() + LAG_SECONDS
        while (result := load_result(key, self.store)) is None:
            check()
            if time.monotonic() > deadline:
                where = f"{self.store.root}: the result of a job that ended well is not there"
                return RunError(f"{where}; is store.root the same folder on all of the launcher's machines?", where)
            time.sleep(PAUSE_SECONDS)
        return replace(result, was_kept=was_kept and self._begun[key] < 2)


def clear_away(root: Path, /) -> None:
    """Delete the folders of commands of this machine that were killed before they could."""
    for folder in (root / FOLDER).glob("*-*"):
        with suppress(OSError):
            owner = Owner.of_text((folder / _OWNER).read_text())
            if owner is not None and owner.is_gone:
                _delete(folder)


def _delete(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # others run
        folder.parent.rmdir()
