"""What a tracker is: MLflow's is one, and so is any other class with its methods."""

import inspect

from effbench.tracking.tracker import Dataset, RunRecord, Tracker, TrackingError
from effbench.tracking.write import MlflowTracker

METHODS = [name for name, value in vars(Tracker).items() if inspect.isfunction(value) and not name.startswith("_")]


def test_mlflows_has_every_method_with_the_same_arguments():
    assert len(METHODS) == 15
    for name in METHODS:
        asked, given = (inspect.signature(getattr(kind, name)).parameters for kind in (Tracker, MlflowTracker))
        assert [(p.name, p.kind, p.default) for p in asked.values()] == [
            (p.name, p.kind, p.default) for p in given.values()
        ], name


def test_a_record_has_nothing_but_what_it_is_given():
    record = RunRecord(name="a", key="k", params={}, tags={})
    assert (record.metrics, record.files, record.dataset) == ({}, {}, None)
    assert Dataset(name="toy", digest="d", source="s", sizes={"train": 3}).sizes["train"] == 3


def test_an_error_is_its_line():
    assert str(TrackingError("tracking.uri=x: can't be used")) == "tracking.uri=x: can't be used"
