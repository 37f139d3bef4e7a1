"""Settings of a whole sweep: what is refused, in one line that names the field."""

import pytest

from effbench.plan.sweep import (
    MAX_THREADS,
    AxisFacts,
    MeasureSettings,
    StoreSettings,
    TrackingSettings,
    WorkerSettings,
)

MEASURE = {"batch": (1, 8), "threads": (1,), "seconds": 0.5}


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (MeasureSettings, {**MEASURE, "batch": (1, 0)}, "batch=0: must be a whole number, 1 to 65536"),
        (MeasureSettings, {**MEASURE, "batch": (1.5,)}, "batch=1.5: must be a whole number"),
        (MeasureSettings, {**MEASURE, "threads": (MAX_THREADS + 1,)}, "threads=257: must be a whole number, 1 to 256"),
        (MeasureSettings, {**MEASURE, "threads": (True,)}, "threads=true: must be a whole number"),
        (MeasureSettings, {**MEASURE, "seconds": 0}, "seconds=0: must be a number above 0"),
        (MeasureSettings, {**MEASURE, "seconds": float("inf")}, "seconds=inf: must be a number"),
        (
            MeasureSettings,
            {**MEASURE, "memory": "2G"},
            "memory=2G: must be a size above 0, such as 20GB, 1.5GiB, 500MB",
        ),
        (MeasureSettings, {**MEASURE, "memory": 0}, "memory=0: must be a size above 0"),
        (
            MeasureSettings,
            {**MEASURE, "memory": True},
            "memory=true: must be text or a whole number or a number, or null;",
        ),
        (TrackingSettings, {"uri": 3, "experiment": "a"}, "uri=3: must be text, or null"),
        (TrackingSettings, {"uri": None, "experiment": " "}, "experiment= : must be text; a name, such as effbench"),
        (StoreSettings, {"root": ""}, "root=: must be text; a folder, such as .effbench"),
        (StoreSettings, {"root": "a", "keep": "some"}, "keep=some: must be needed or all"),
        (StoreSettings, {"root": "a", "limit": "much"}, "limit=much: must be a size above 0, such as 20GB"),
        (StoreSettings, {"root": "a", "limit": 0}, "limit=0: must be a size above 0"),
        (StoreSettings, {"root": "a", "limit": True}, "limit=true: must be "),
        (WorkerSettings, {"jobs": 0, "timeout": None}, "jobs=0: must be auto or a whole number, 1 or more"),
        (WorkerSettings, {"jobs": "two", "timeout": None}, "jobs=two: must be auto or a whole number"),
        (WorkerSettings, {"jobs": 1, "timeout": 0}, "timeout=0: must be a number above 0, or null; seconds"),
        (WorkerSettings, {"jobs": 1, "timeout": "1h"}, "timeout=1h: must be a number above 0, or null; seconds"),
    ],
)
def test_what_can_not_be_is_named(kind, given, message):
    with pytest.raises(ValueError) as refusal:
        kind(**given)
    assert str(refusal.value).startswith(message)
    assert len(str(refusal.value).splitlines()) == 1


def test_what_can_be_is_taken_as_it_is():
    measure = MeasureSettings(**{**MEASURE, "seconds": 2})
    assert (measure.batch, measure.threads, measure.seconds) == ((1, 8), (1,), 2.0)
    assert type(measure.seconds) is float
    assert measure.memory_bytes() is None
    assert MeasureSettings(**MEASURE, memory="2GB").memory_bytes() == 2 * 10**9
    assert TrackingSettings(uri=None, experiment="a").uri is None
    assert [StoreSettings(root="a", limit=limit).limit_bytes for limit in (None, 7, "20GB")] == [None, 7, 20 * 10**9]
    assert [WorkerSettings(jobs=jobs, timeout=None).jobs for jobs in ("auto", 3)] == ["auto", 3]
    assert WorkerSettings(jobs="auto", timeout=60).timeout == 60.0
    assert AxisFacts(realised={"bytes": "removed"}, moves=["size_bytes"]).moves == ["size_bytes"]
