"""Training curves logged while runs go on: seldom enough, each point once, and whatever the tracker does."""

import math
from types import SimpleNamespace

import pytest

from effbench.sweep.curve_log import MOST_SHARE, SECONDS_APART, CurveLog, points_of
from effbench.tracking.tracker import RunRecord

ONE, OTHER = SimpleNamespace(key="one"), SimpleNamespace(key="other")


def row(epoch, **values):
    return {"curve": "train", "step": "train", "epoch": epoch, "time": 1e9 + epoch, "loss": 1 / epoch, **values}


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def tracker(make_tracker):
    return make_tracker()


@pytest.fixture
def is_there():
    """Whether the tracker answers, and how often it was asked."""
    return SimpleNamespace(answers=True, n_asked=0, seconds=0.0)


@pytest.fixture
def log(tracker, now, is_there):
    def ask(what):
        is_there.n_asked += 1
        now[0] += is_there.seconds
        if is_there.answers:
            what()
        return is_there.answers

    def describe(point):
        return RunRecord(name=point.key, key=point.key, params={}, tags={})

    return CurveLog(tracker, describe=describe, ask=ask, clock=lambda: now[0])


def steps(tracker, key):
    return [point.step for point in tracker.points.get(key, ())]


def test_a_run_is_begun_after_a_second_and_told_of_each_second(log, tracker, now):
    for epoch, now[0] in enumerate((0.0, 0.5, 0.9, 1.0, 1.2, 1.9, 2.0, 2.1), 1):
        log.note(ONE, row(epoch))
    assert [record.key for record in tracker.begun] == ["one"]
    assert steps(tracker, "one") == [1, 2, 3, 4, 5, 6, 7]
    assert [point.step for point in log.left("one", log.rows("one"))] == [8]


def test_a_quick_run_is_not_begun_and_all_is_left_for_its_end(log, tracker, now):
    for epoch in (1, 2, 3):
        log.note(ONE, row(epoch))
    assert not tracker.begun
    assert [point.step for point in log.left("one", log.rows("one"))] == [1, 2, 3]
    assert [point.step for point in log.left("unheard of", [row(4)])] == [4]
    assert log.rows("unheard of") == ()


def test_a_run_is_running_from_its_beginning_on_with_its_true_start(log, tracker, now):
    log.begin(ONE, 1e9)
    assert [(record.key, record.began) for record in tracker.begun] == [("one", 1e9)]
    log.note(ONE, row(1))
    now[0] = 5
    log.note(ONE, row(2))
    assert len(tracker.begun) == 1 and steps(tracker, "one") == [1, 2]
    assert (log.began("one"), log.began("other")) == (1e9, None)


def test_a_beginning_that_a_tracker_did_not_take_comes_later_with_its_time(log, tracker, now, is_there):
    is_there.answers = False
    log.begin(ONE, 1e9)
    assert not tracker.begun
    is_there.answers = True
    log.note(ONE, row(1))
    now[0] = 5
    log.note(ONE, row(2))
    assert [(record.key, record.began) for record in tracker.begun] == [("one", 1e9)]


def test_runs_do_not_wait_for_each_other(log, tracker, now):
    log.note(ONE, row(1))
    now[0] = 1.5
    log.note(OTHER, row(1))
    log.note(ONE, row(2))
    assert steps(tracker, "one") == [1, 2] and steps(tracker, "other") == []


def test_a_slow_tracker_takes_a_small_share_of_the_time(log, now, is_there):
    is_there.seconds = 3.0
    for epoch in range(1, 400):
        log.note(ONE, row(epoch))
        now[0] += 1.0
    assert 2 <= is_there.n_asked <= 1 + 400 / (3 / MOST_SHARE)


def test_what_a_tracker_that_is_away_did_not_take_is_logged_later(log, tracker, now, is_there):
    is_there.answers = False
    log.note(ONE, row(1))
    now[0] += 2 * SECONDS_APART
    log.note(ONE, row(2))
    assert is_there.n_asked == 1 and not tracker.begun
    is_there.answers = True
    now[0] += 2 * SECONDS_APART
    log.note(ONE, row(3))
    assert steps(tracker, "one") == [1, 2, 3]
    assert len(tracker.begun) == 1


def test_a_run_that_is_finished_there_is_not_begun_once_more(log, tracker, now):
    tracker.finished["one"] = {}
    log.begin(ONE, 1e9)
    log.note(ONE, row(1))
    now[0] = 5
    log.note(ONE, row(2))
    assert not tracker.begun


def test_points_are_named_by_curve_and_value_and_keep_their_time():
    (loss, rate) = points_of([row(3, lr=0.5) | {"curve": "distill/hints", "loss": math.inf}])
    assert (loss.name, rate.name) == ("curve/distill/hints/loss", "curve/distill/hints/lr")
    assert (loss.step, loss.time, loss.value) == (3, 1e9 + 3, math.inf)
