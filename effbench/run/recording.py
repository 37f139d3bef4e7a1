"""A sweep, recorded in the store that it uses."""

from __future__ import annotations

import os
from contextlib import suppress

from effbench.plan.needs import lasting_keys, needed_keys, teacher_keys
from effbench.plan.sweep import Sweep
from effbench.run.entry import entry_path, read_json_entry
from effbench.run.store import Store
from effbench.run.sweep_records import FOLDER, SweepRecord


def record_of(sweep: Sweep, /) -> SweepRecord:
    """Return the record of a planned sweep."""
    plan = sweep.plan
    lasting = {point.key: lasting_keys(point.chain) for point in plan.points}
    return SweepRecord(
        id=plan.sweep_id,
        command=sweep.command,
        points={point.key: needed_keys(point.chain) for point in plan.points},
        lasting=frozenset[str]().union(*lasting.values()),
        references=frozenset[str]().union(*(lasting[point.key] for point in plan.points if point.is_reference)),
        teachers=frozenset[str]().union(*(teacher_keys(point.chain) for point in plan.points)),
    )


def keep_record(record: SweepRecord, store: Store, /) -> None:
    """Keep a sweep's record, or note that it was used again."""
    name = f"{FOLDER}/{record.id}.json"
    try:
        is_there = read_json_entry(store.root, name) == record.to_plain()
    except ValueError:
        is_there = False
    if is_there:
        with suppress(OSError):  # it is somebody else's
            os.utime(entry_path(store.root, name))
    else:
        store.put_json(name, record.to_plain())
