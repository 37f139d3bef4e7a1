"""What making a network took: each part once, whoever computed it, and nothing where something is not known."""

import json

import pytest

from effbench.plan.spent import Spent


@pytest.fixture
def spent():
    """What a student's run took that learned from a teacher, which learned from another one."""
    first = Spent()
    first.note("train", seconds=5.0, macs=50)
    teacher = Spent()
    teacher.note("distill", seconds=2.0, macs=20)
    teacher.note_teacher("first", first)
    student = Spent()
    student.note("prune", seconds=0.5)
    student.note("distill", seconds=1.0, macs=7)
    student.note_teacher("second", teacher)
    student.note_teaching("labels/a", seconds=0.25, macs=3)
    student.note_teaching("beside/distill", macs=4)
    return student


def test_a_teacher_brings_what_its_own_teachers_took(spent):
    assert spent.metrics == {
        "train_seconds_total": 1.5,
        "train_macs": 7,
        "teacher_seconds": 7.25,
        "teacher_macs": 77,
    }
    assert spent.words == {}
    assert Spent().metrics == {"train_seconds_total": 0, "train_macs": 0, "teacher_seconds": 0, "teacher_macs": 0}


def test_nothing_counts_twice(spent):
    both = Spent()
    for _ in range(3):
        both.take_over(spent)
    assert both == spent
    more = Spent()
    more.note("distill/1", seconds=1.0, macs=1)
    both.take_over(more)
    assert (both.metrics["train_seconds_total"], both.metrics["train_macs"]) == (2.5, 8)
    assert "distill/1" not in spent.own


def test_it_comes_back_from_plain_data(spent):
    assert Spent.from_plain(json.loads(json.dumps(spent.to_plain()))) == spent
    assert Spent.from_plain(json.loads(json.dumps(spent.to_plain()))).metrics == spent.metrics


@pytest.mark.parametrize("older_first", [True, False])
def test_what_an_earlier_version_kept_makes_all_of_it_unknown(spent, older_first):
    older = Spent.from_plain(None)
    one, other = (older, spent) if older_first else (spent, older)
    one.take_over(other)
    one.note("later", seconds=1.0, macs=1)
    one.note_teaching("later", seconds=1.0)
    one.note_teacher("key", Spent())
    assert one.metrics == {}
    assert "earlier version" in one.words["training_cost"]
    assert Spent.from_plain(json.loads(json.dumps(one.to_plain()))) == one


def test_an_unknown_teacher_leaves_the_own_part_known(spent):
    spent.note_teacher("old", Spent.from_plain(None))
    assert spent.metrics == {"train_seconds_total": 1.5, "train_macs": 7}
    assert spent.words


def test_a_network_that_cannot_be_counted_leaves_the_seconds(spent):
    spent.note("odd", seconds=1.0, macs=None)
    assert "train_macs" not in spent.metrics
    assert spent.metrics["train_seconds_total"] == 2.5
    uncounted = Spent()
    uncounted.note_teacher("odd", spent)
    assert uncounted.metrics["teacher_seconds"] == pytest.approx(9.75)
    assert "teacher_macs" not in uncounted.metrics
