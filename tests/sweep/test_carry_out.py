"""A sweep carried out with a tracker in memory: what is logged, in which order, and what a failure does."""

import errno

import numpy as np
import pytest

from effbench.config.read import read_sweep
from effbench.run.results import RunResult
from effbench.run.store import Store
from effbench.run.outcomes import RunError
from effbench.sweep.carry_out import carry_out
from effbench.tracking import names


class Memory:
    """A tracker that keeps what it is given."""

    def __init__(self, finished=()):
        self.finished = {key: {} for key in finished}
        self.opened = []
        self.logged = []
        self.later = {}

    def open_sweep(self, sweep_id, *, name, params, tags):
        self.opened.append((sweep_id, name, params, tags))

    def finished_keys(self):
        return frozenset(self.finished)

    def log_run(self, record, *, status, reused=False):
        self.logged.append((record, status, reused))
        if status == "FINISHED":
            self.finished[record.key] = record

    def log_metrics(self, key, metrics):
        assert key in self.finished
        self.later[key] = metrics

    def abandon_sweep(self):
        raise AssertionError("nothing to abandon")

    def close_sweep(self, *, status, metrics, files):
        raise AssertionError("not carry_out's business")


class Silence:
    """A display that counts."""

    def __init__(self):
        self.ended = []

    def run_started(self, point): ...

    def step(self, point, step, done, total): ...

    def run_computed(self, point): ...

    def run_ended(self, point, *, failed):
        self.ended.append((str(point), failed))

    def measuring(self, done, total): ...


def result_of(point):
    accuracy = 0.9 - 0.1 * point.axes["prune"]
    return RunResult(
        metrics={"accuracy": accuracy, "accuracy_val": accuracy, "size_bytes": 10.0},
        cached_steps=("train",),
        unknown_operations=(),
        blob=b"file",
        correct_val=np.ones(3, bool),
        correct_test=np.ones(3, bool),
    )


def runs(sweep, outcomes=None):
    """Yield every point with a result; `outcomes` by label replace results."""
    for point in sweep.plan.points:
        yield point, (outcomes or {}).get(point.label) or result_of(point)


@pytest.fixture
def sweep(monkeypatch):
    monkeypatch.setattr(
        "effbench.sweep.carry_out.measure_points",
        lambda points, *_: {point.key: {"latency_ms/eager": 1.0} for point in points},
    )
    return read_sweep(["+prune=0.5,0.9"])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_every_point_is_logged_and_then_its_latency(sweep, store):
    tracker, display = Memory(), Silence()
    outcome = carry_out(sweep, store, tracker, display, runs(sweep))
    ((sweep_id, name, params, tags),) = tracker.opened
    assert sweep_id == sweep.plan.sweep_id
    assert name == "+prune=0.5,0.9"
    assert tags[names.AXES] == "prune"
    assert "prune" not in params
    assert params["train.batch_size"] == 64
    assert [(record.name, status) for record, status, _ in tracker.logged] == [
        ("reference, seed=0", "FINISHED"),
        ("prune=0.5, seed=0", "FINISHED"),
        ("prune=0.9, seed=0", "FINISHED"),
    ]
    assert [record.params["prune"] for record, _, _ in tracker.logged] == [0.0, 0.5, 0.9]
    assert set(tracker.later) == {point.key for point in sweep.plan.points}
    assert list(outcome.frame["point"]) == ["reference", "prune=0.5", "prune=0.9"]
    assert list(outcome.frame["latency_ms/eager"]) == [1.0] * 3
    assert outcome.failures == {}
    assert sorted(outcome.correct) == sorted(outcome.frame["run_key"])
    assert display.ended == [(record.name, False) for record, _, _ in tracker.logged]


def test_what_is_logged_already_is_not_logged_again(sweep, store):
    done = sweep.plan.points[1].key
    tracker = Memory(finished=[done])
    outcome = carry_out(sweep, store, tracker, Silence(), runs(sweep))
    assert done not in {record.key for record, _, _ in tracker.logged}
    assert len(outcome.frame) == 3


def test_a_failure_is_logged_with_its_trace_and_the_others_go_on(sweep, store):
    failures = {
        "prune=0.5": RunError("ValueError: bad\nand more", "Traceback …\nValueError: bad"),
        "reference": RunError.of(KeyError("lost")),
    }
    tracker, display = Memory(), Silence()
    outcome = carry_out(sweep, store, tracker, display, runs(sweep, failures))
    assert set(outcome.failures) == {"prune=0.5, seed=0", "reference, seed=0"}
    assert list(outcome.frame["point"]) == ["prune=0.9"]
    statuses = {record.name: (record, status) for record, status, _ in tracker.logged}
    record, status = statuses["prune=0.5, seed=0"]
    assert status == "FAILED"
    assert record.files["traceback.txt"] == b"Traceback \xe2\x80\xa6\nValueError: bad"
    assert record.tags[names.ERROR] == "ValueError: bad"
    assert "model.effb" not in record.files
    assert statuses["reference, seed=0"][0].tags[names.ERROR] == "KeyError: 'lost'"
    assert display.ended[0] == ("reference, seed=0", True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_no_more_ends_the_sweep(sweep, store, number):
    error = RunError.of(OSError(number, "no more"))
    tracker = Memory()
    with pytest.raises(OSError) as caught:
        carry_out(sweep, store, tracker, Silence(), runs(sweep, {"prune=0.5": error}))
    assert caught.value.errno == number
    assert [record.name for record, _, _ in tracker.logged] == ["reference, seed=0"]


def test_how_real_a_saving_is_goes_by_the_least_real_technique(monkeypatch, store):
    from effbench.sweep.records import describe_run, sweep_params

    both = read_sweep(["+prune=0.5", "+bits=4", "+rho=0.5"])
    point = both.plan.points[-1]
    tags = describe_run(point, both).tags
    assert {k.rpartition("/")[2]: v for k, v in tags.items() if k.startswith(names.REALISED)} == {
        "bytes": "executed",
        "macs": "simulated",
        "latency": "simulated",
    }
    reference = describe_run(both.plan.points[0], both)
    assert not [tag for tag in reference.tags if tag.startswith(names.REALISED)]
    assert (reference.params["prune"], reference.params["bits"], reference.params["rho"]) == (0, 32, 1)
    assert set(sweep_params(both)).isdisjoint({"prune", "bits", "rho", "side"})
