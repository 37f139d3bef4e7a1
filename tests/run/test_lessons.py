"""What a teacher gives, and what that took: the same from the store and made anew, apart from the student's time."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from effbench.plan.findings import Findings
from effbench.plan.spent import Spent
from effbench.run import stopwatch
from effbench.run.lessons import Lessons
from effbench.run.made import Made
from effbench.run.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def lessons(store, clock):
    """Return what makes a teacher's lessons: 100 seconds pass, whatever its network is said to have taken."""

    def make(*, took=5.0, macs=7):
        spent = Spent()
        if took is None:
            spent = Spent.from_plain(None)
        else:
            spent.note("train", seconds=took, macs=50)

        def network():
            clock[0] += 100
            return Made(model=nn.Linear(2, 3), findings=Findings(spent=spent))

        return Lessons(
            teacher=SimpleNamespace(key="t"),
            store=store,
            make=network,
            count_macs=lambda model: macs,
            watch=Stopwatch(),
            spent=Spent(),
        )

    return make


def label(lessons, clock):
    lessons.network()
    clock[0] += 2
    return torch.zeros(4, 3)


def test_labels_bring_what_they_and_their_teacher_took(lessons, clock):
    first = lessons()
    first.keep("t-x", lambda: label(first, clock))
    assert first.spent.metrics == {
        "train_seconds_total": 0,
        "train_macs": 0,
        "teacher_seconds": 5 + 2,
        "teacher_macs": 50 + 4 * 7,
    }
    assert first.watch.seconds == 0
    later = lessons(took=99.0)
    later.keep("t-x", lambda: pytest.fail("labelled"))
    assert later.spent == first.spent
    later.network()  # hints need it as well: it is the same teacher, and counts once
    assert later.spent.metrics["teacher_seconds"] == 99 + 2


def test_labels_of_an_earlier_version_bring_nothing_that_is_known(lessons, store):
    store.keep_tensor("t-x", lambda: torch.zeros(4, 3))
    late = lessons()
    assert late.keep("t-x", lambda: pytest.fail("labelled")).shape == (4, 3)
    assert late.spent.teaching is None and late.spent.own == {}


def test_a_teacher_that_was_kept_by_an_earlier_version_is_not_known(lessons, clock):
    old = lessons(took=None)
    old.keep("t-x", lambda: label(old, clock))
    assert "teacher_seconds" not in old.spent.metrics
    again = lessons()
    again.keep("t-x", lambda: pytest.fail("labelled"))
    assert "teacher_seconds" not in again.spent.metrics


def test_a_teacher_that_can_not_be_counted_has_seconds_alone(lessons, clock):
    odd = lessons(macs=None)
    odd.keep("t-x", lambda: label(odd, clock))
    assert odd.spent.metrics["teacher_seconds"] == 7
    assert "teacher_macs" not in odd.spent.metrics
