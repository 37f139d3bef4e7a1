"""Runs logged to a tracker that comes and goes: nothing is lost, and it is not asked all the time."""

import dataclasses

import pytest

from effbench.config.read import read_sweep
from effbench.run.outcomes import RunError
from effbench.run.results import keep_result
from effbench.sweep.run_log import RETRY_SECONDS, RunLog
from effbench.tracking.tracker import TrackingError


class Away:
    """A tracker in front of another, which can be away."""

    def __init__(self, tracker):
        self.tracker, self.is_away, self.n_asked = tracker, False, 0

    def _answer(self):
        self.n_asked += 1
        if self.is_away:
            raise TrackingError("tracking.uri=http://x: can't be used (no answer)")

    def finished_keys(self):
        return self.tracker.finished_keys()

    def keys_without_files(self):
        return self.tracker.keys_without_files()

    def log_files(self, key, files):
        self._answer()
        self.tracker.log_files(key, files)

    def begin_run(self, record):
        self._answer()
        self.tracker.begin_run(record)

    def log_points(self, key, points):
        self._answer()
        self.tracker.log_points(key, points)

    def log_run(self, record, *, status, reused=False):
        self._answer()
        self.tracker.log_run(record, status=status, reused=reused)

    def log_metrics(self, key, metrics):
        self._answer()
        self.tracker.log_metrics(key, metrics)

    def log_tags(self, key, tags):
        self._answer()
        self.tracker.log_tags(key, tags)


@pytest.fixture
def sweep():
    return read_sweep(["+prune=0.1,0.5,0.9"])


@pytest.fixture
def tracker(make_tracker):
    return Away(make_tracker())


@pytest.fixture
def now():
    """The time, which a test moves on."""
    return [0.0]


@pytest.fixture
def said():
    return []


@pytest.fixture
def log(sweep, store, tracker, said, now):
    return RunLog(sweep, store, tracker, say=said.append, clock=lambda: now[0])


@pytest.fixture
def ended(sweep, store, result_of):
    """The points of the sweep and their results, which the store has, too."""
    pairs = [(point, result_of(point)) for point in sweep.plan.points]
    for point, result in pairs:
        keep_result(point.key, result, store)
    return pairs


def logged(tracker):
    return [(record.name, status) for record, status, _ in tracker.tracker.logged]


def test_runs_are_logged_as_they_end(log, tracker, ended, said):
    for point, result in ended:
        log.log(point, result)
    assert logged(tracker) == [(str(point), "FINISHED") for point, _ in ended]
    assert (log.n_waiting, log.problem, said) == (0, None, [])


def test_a_run_that_failed_without_telling_when_began_when_it_was_said_to(log, tracker, ended):
    point = ended[0][0]
    log.note_begin(point, 1e9)
    log.log(point, RunError("the worker process died", "the worker process died"))
    (record, status, _) = tracker.tracker.logged[0]
    assert (record.began, status) == (1e9, "FAILED")
    assert [record.key for record in tracker.tracker.begun] == [point.key]


def test_what_comes_while_it_is_away_is_logged_at_the_end_in_its_order(log, tracker, ended, said):
    log.log(*ended[0])
    tracker.is_away = True
    log.log(*ended[1])
    log.log(ended[2][0], RunError("ValueError: bad", "trace"))
    log.log(*ended[3])
    assert tracker.n_asked == 2  # it is not asked again at once
    assert log.n_waiting == 3
    assert len(said) == 1 and "no answer" in said[0] and "goes on" in said[0]
    tracker.is_away = False
    log.log_waiting()
    assert logged(tracker) == [
        (str(point), "FAILED" if number == 2 else "FINISHED") for number, (point, _) in enumerate(ended)
    ]
    assert (log.n_waiting, log.problem) == (0, None)
    assert [reused for _, _, reused in tracker.tracker.logged] == [False] * 4
    record = tracker.tracker.logged[1][0]
    assert record.files["model.effb"] == b"file"
    assert record.tags["effbench.realised/macs"] == "masked"


def test_it_is_asked_again_now_and_then(log, tracker, ended, now):
    tracker.is_away = True
    log.log(*ended[0])
    now[0] += RETRY_SECONDS - 1
    log.log(*ended[1])
    assert tracker.n_asked == 1
    now[0] += 1
    log.log(*ended[2])
    assert tracker.n_asked == 2
    tracker.is_away = False
    now[0] += RETRY_SECONDS
    log.log(*ended[3])
    assert len(logged(tracker)) == 4


def test_away_for_good_it_says_why_and_how_many_are_missing(log, tracker, ended):
    log.log(*ended[0])
    tracker.is_away = True
    for point, result in ended[1:]:
        log.log(point, result)
    log.log_waiting()
    log.log_metrics({point.key: {"latency_ms/eager": 1.0} for point, _ in ended})
    assert log.n_waiting == 3
    assert "no answer" in str(log.problem)
    assert not tracker.tracker.later


def test_what_is_missing_is_not_forgotten_when_something_else_is_taken(log, tracker, ended):
    log.log(*ended[0])
    tracker.is_away = True
    log.log(*ended[1])
    tracker.is_away = False
    log.log_metrics({ended[0][0].key: {"latency_ms/eager": 1.0}})
    assert log.n_waiting == 1
    assert log.problem is not None


def test_metrics_are_added_to_what_is_logged(log, tracker, ended):
    for point, result in ended:
        log.log(point, result)
    log.log_metrics({point.key: {"latency_ms/eager": 1.0} for point, _ in ended})
    assert set(tracker.tracker.later) == {point.key for point, _ in ended}


def test_what_is_finished_there_is_not_logged_again_and_a_kept_result_says_so(log, tracker, ended):
    tracker.tracker.finished[ended[0][0].key] = {}
    log.log(*ended[0])
    log.log(ended[1][0], dataclasses.replace(ended[1][1], was_kept=True))
    assert [(record.name, reused) for record, _, reused in tracker.tracker.logged] == [(str(ended[1][0]), True)]


def test_files_that_are_gone_are_logged_once_more_and_said(log, tracker, ended, said):
    point, result = ended[1]
    tracker.tracker.finished[point.key] = {}
    tracker.tracker.lacking = {point.key}
    log.log(point, result)
    assert {"config.yaml", "model.effb", "counts.npz"} <= set(tracker.tracker.restored[point.key])
    assert logged(tracker) == []
    assert said == [f"{point}: the files of its run were gone; they are logged again"]


def test_a_result_that_is_gone_when_it_is_to_be_logged_is_said_so(log, tracker, ended, store):
    tracker.is_away = True
    log.log(*ended[0])
    tracker.is_away = False
    (store.root / "entries" / "runs" / f"{ended[0][0].key}.effb").unlink()
    with pytest.raises(OSError, match="the result of reference, seed=0 is gone"):
        log.log_waiting()


def epoch(number, **values):
    return {"curve": "train", "step": "train", "epoch": number, "time": 1e9, "loss": 0.5, **values}


def with_curves(result, *numbers):
    return dataclasses.replace(result, tables={"curves": [epoch(number) for number in numbers]})


class TestCurves:
    def test_what_was_not_told_while_the_run_went_on_comes_with_its_end(self, log, tracker, ended, now):
        point, result = ended[0]
        log.note_epoch(point, epoch(1))
        now[0] += 5
        log.note_epoch(point, epoch(2))
        log.log(point, with_curves(result, 1, 2, 3))
        assert [p.step for p in tracker.tracker.points[point.key]] == [1, 2]
        record = tracker.tracker.logged[0][0]
        assert [(p.name, p.step) for p in record.points] == [("curve/train/loss", 3)]
        assert record.files["curves.csv"].decode().splitlines()[0] == "curve,step,epoch,time,loss"

    def test_a_kept_result_brings_all_of_its_curves(self, log, tracker, ended):
        point, result = ended[0]
        log.log(point, dataclasses.replace(with_curves(result, 1, 2), was_kept=True))
        assert [p.step for p in tracker.tracker.logged[0][0].points] == [1, 2]

    def test_a_run_that_failed_has_what_led_to_it(self, log, tracker, ended):
        point = ended[0][0]
        for number in (1, 2):
            log.note_epoch(point, epoch(number, loss=0.5 if number == 1 else float("nan")))
        log.log(point, RunError("FloatingPointError: the loss is nan in epoch 2", "trace"))
        record, status, _ = tracker.tracker.logged[0]
        assert status == "FAILED" and "nan in epoch 2" in record.tags["effbench.error"]
        assert [p.step for p in record.points] == [1, 2]
        assert len(record.files["curves.csv"].decode().splitlines()) == 3

    def test_away_it_stops_nothing_and_is_not_asked_at_once(self, log, tracker, ended, now, said):
        point, result = ended[0]
        tracker.is_away = True
        for number in range(1, 50):
            log.note_epoch(point, epoch(number))
            now[0] += 1
        assert tracker.n_asked == 1 and len(said) == 1
        tracker.is_away = False
        keep = with_curves(result, *range(1, 50))
        keep_result(point.key, keep, log._store)
        log.log(point, keep)
        log.log_waiting()
        assert len(tracker.tracker.logged[0][0].points) == 49
        assert (log.n_waiting, log.problem) == (0, None)
