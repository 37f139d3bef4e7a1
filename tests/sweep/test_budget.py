"""How long runs were trained, told in one line where that is the same for all."""

from effbench.config.read import read_sweep
from effbench.sweep.budget import budget_lines

TINY = ["train.epochs=3", "finetune.epochs=1", "train.fraction=0.1"]


def lines(*arguments):
    keys = {argument.partition("=")[0] for argument in arguments}
    tiny = [argument for argument in TINY if argument.partition("=")[0] not in keys]
    return budget_lines(read_sweep([*tiny, *arguments]).plan.points)


def test_runs_of_one_budget_have_one_line():
    expected = "budget of every run: train 3 epochs of 300 examples in batches of 64, finetune 1 epoch"
    assert lines("prune=0.5,0.9", "seed=0,1") == [expected]
    assert lines("prune=0.5", "finetune.batch_size=32") == [
        "budget of every run: train 3 epochs of 300 examples in batches of 64, "
        "finetune 1 epoch of 300 examples in batches of 32"
    ]


def test_rounds_are_added_up():
    (line,) = lines("prune=0.5", "recipe.rounds=3")
    assert line.endswith("finetune 3 epochs")


def test_nothing_trained_is_said():
    assert lines("prune=0.5", "train.epochs=0", "finetune.epochs=0") == ["budget of every run: no training"]


def test_different_budgets_are_told_apart_with_their_points():
    first, second = lines("prune=0.5", "train.epochs=1,2")
    assert first.startswith("budget of train.epochs=1, reference; train.epochs=1, prune=0.5: train 1 epoch of 300 ")
    assert second.startswith("budget of train.epochs=2, reference; train.epochs=2, prune=0.5: train 2 epochs of 300 ")


def test_a_student_is_trained_as_long_as_what_it_replaces():
    (line,) = lines("distill=0.5", "alpha=0.5", "recipe=distill")[:1]
    assert "distill 3 epochs" in line or "train 3 epochs" in line
