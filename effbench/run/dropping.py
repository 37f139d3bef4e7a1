"""Networks that are only passed through, dropped as soon as no run needs them any more."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import filelock

from effbench.checks.sizes import shown_size
from effbench.plan.sweep import Sweep
from effbench.run.checkpoints import drop_checkpoints, has_checkpoint
from effbench.run.entry import entry_lock, entry_path
from effbench.run.outcomes import Outcomes
from effbench.run.recording import keep_record, record_of
from effbench.run.results import RunResult, is_kept
from effbench.run.room import make_room
from effbench.run.store import Store
from effbench.run.sweep_records import SweepRecord, read_records

log = logging.getLogger(__name__)


@contextmanager
def use_of(store: Store, /, *, by: Sweep) -> Iterator[Use]:
    """Have the store know from before the work on what a sweep uses; in the end say if the store is too full."""
    use = Use(record_of(by), store, keeps_all=by.store.keep == "all")
    keep_record(use.record, store)
    try:
        yield use
    finally:
        keep_record(use.record, store)
        over = 0 if store.limit is None else make_room(store.root, store.limit)
        if over:
            log.warning(
                "store.limit=%s: can't be kept: results, and what unfinished sweeps need, take %s more; "
                "python -m effbench.store shows what can be cleared",
                by.store.limit,
                shown_size(over),
            )


@dataclass
class Use:
    """A sweep at work on a store."""

    record: SweepRecord
    store: Store
    keeps_all: bool

    def extend(self, sweep: Sweep, /) -> None:
        """Have the store know of the points that the sweep has by now."""
        self.record = record_of(sweep)
        keep_record(self.record, self.store)

    def follow(self, runs: Outcomes, /) -> Outcomes:
        """Pass on the runs of the sweep, and with each drop the networks that no run without a result needs.

        What any sweep of the store keeps for later stays, see `plan.needs`. A run that failed has no result: the same
        command tries it again, from what it had.
        """
        n_waiting = Counter(network for networks in self.record.points.values() for network in networks)
        try:
            for point, outcome in runs:
                if isinstance(outcome, RunResult):
                    networks = self.record.points[point.key]
                    n_waiting.subtract(networks)
                    passed = [network for network in networks if not n_waiting[network]]
                    drop_left_checkpoints(passed, self.record, self.store)
                    if not self.keeps_all:
                        drop(passed, self.record, self.store)
                yield point, outcome
        finally:
            runs.close()


def drop(networks: Iterable[str], record: SweepRecord, store: Store, /) -> None:
    """Drop those of the networks that are kept, and for which no sweep of the store has a use."""
    passed = [key for key in networks if key not in record.lasting and store.has_model(key)]
    if not passed:
        return
    others = [other for other in read_records(store.root)[0] if other.id != record.id]
    for key in passed:
        if not any(_has_use_for(key, other, store) for other in others):
            _delete(key, store)


def drop_left_checkpoints(networks: Iterable[str], record: SweepRecord, store: Store, /) -> None:
    """Drop the checkpoints of trainings that no run of any sweep goes on with: a step drops its own when it is made."""
    left = [key for key in networks if has_checkpoint(key, store)]
    others = [other for other in read_records(store.root)[0] if other.id != record.id] if left else []
    for key in left:
        if not any(key in other.networks and _is_waited_for(key, other, store) for other in others):
            drop_checkpoints(key, store)


def _has_use_for(key: str, other: SweepRecord, store: Store) -> bool:
    if key in other.lasting:
        return True
    return key in other.networks and _is_waited_for(key, other, store)


def _is_waited_for(key: str, other: SweepRecord, store: Store) -> bool:
    """Whether a run of a sweep that has no result may go on from a network."""
    return any(key in networks and not is_kept(run, store) for run, networks in other.points.items())


def _delete(key: str, store: Store) -> None:
    """Delete a network, unless another process is at it just now. Whoever looks for it afterwards makes it again."""
    try:
        with entry_lock(store.root, key, waits=False):
            for folder in ("models", "findings"):
                entry_path(store.root, f"{folder}/{key}").unlink(missing_ok=True)
    except (OSError, filelock.Timeout):  # in use, or somebody else's: it stays
        return
