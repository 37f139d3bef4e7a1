"""Recipes written out: entries in their order, groups in rounds, and rounds whose number is found on the way."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from effbench.plan.chain import Rounds, Until
from effbench.plan.recipe import best_of_finetunings, lay_out
from effbench.plan.stage import Stage
from effbench.stages.fold_batch_norm import FoldBatchNorm
from effbench.stages.rewind import Rewind
from effbench.stages.train import Train


@dataclass(frozen=True, kw_only=True)
class Labelled(Stage):
    """A stand-in for a stage: it only says where it was asked for."""

    VERSION: ClassVar[int] = 1
    label: str

    def apply(self, model, context, /):
        return model


def choose(entry, position, n_rounds):
    return [] if entry == "absent" else [(entry, Labelled(label=f"{position} of {n_rounds}"))]


def with_rewind(to):
    def stages_at(entry, position, n_rounds):
        return [(entry, Rewind(to=to))] if entry == "rewind" else choose(entry, position, n_rounds)

    return stages_at


def names(steps):
    return [str(step) for step in steps]


def test_entries_stand_in_their_order():
    steps = lay_out(["train", "prune", "quantize"], choose, rounds=3)
    assert names(steps) == ["train", "prune", "quantize"]
    assert {step.stage.label for step in steps} == {"1 of 1"}


def test_a_group_is_repeated_as_a_group():
    steps = lay_out(["train", ["prune", "finetune"], "quantize"], choose, rounds=2)
    assert names(steps) == ["train", "prune", "finetune", "prune/1", "finetune/1", "quantize"]
    assert [step.stage.label for step in steps[1:5]] == ["1 of 2", "1 of 2", "2 of 2", "2 of 2"]


def test_a_stage_that_stands_in_two_places_is_counted():
    steps = lay_out(["train", "finetune", "prune", "finetune"], choose, rounds=1)
    assert names(steps) == ["train", "finetune", "prune", "finetune/1"]


def test_an_entry_may_stand_for_several_stages_in_order():
    def pair(entry, position, n_rounds):
        return [(f"{entry}{letter}", Labelled(label=letter)) for letter in "ab"]

    assert names(lay_out([["p"]], pair, rounds=2)) == ["pa", "pb", "pa/1", "pb/1"]


def test_what_is_not_chosen_is_not_there():
    steps = lay_out(["train", ["absent", "finetune"], "absent"], choose, rounds=2)
    assert names(steps) == ["train", "finetune", "finetune/1"]


def test_rounds_with_an_end_are_one_step_of_the_steps_written_out():
    entries = ["train", ["prune", "finetune"], "finetune"]
    plain = lay_out(entries, choose, rounds=3)
    train, rounds, last = lay_out(entries, choose, rounds=3, until=Until(max_loss=0.1))
    assert (train, *rounds.steps, last) == plain
    assert isinstance(rounds, Rounds)
    assert rounds.until == Until(max_loss=0.1)
    assert [len(group) for group in rounds.rounds] == [2, 2, 2]
    assert str(rounds) == "up to 3 × (prune → finetune)"


def test_rounds_of_nothing_are_not_there_even_with_an_end():
    assert names(lay_out(["train", ["absent"]], choose, rounds=3, until=Until(max_loss=0.1))) == ["train"]


def test_an_end_without_rounds_is_refused():
    with pytest.raises(
        ValueError, match=r"^recipe\.until: says when rounds end, and the recipe has none; write a group"
    ):
        lay_out(["train", "finetune"], choose, rounds=1, until=Until(max_loss=0.1))


@pytest.mark.parametrize(
    ("to", "entries", "until", "known"),
    [
        ("train", ["rewind", "train"], Until(), "init"),
        ("finetune", ["train", "rewind", "finetune"], Until(), "init, train"),
        ("nowhere", ["train", ["prune", "rewind"]], Until(max_loss=0.1), "init, prune, train"),
        # How many rounds are taken is not known beforehand: what is inside can't be asked for from outside.
        ("finetune", ["train", ["prune", "finetune"], "rewind"], Until(max_loss=0.1), "init, train"),
    ],
)
def test_a_step_that_is_asked_for_must_be_before(to, entries, until, known):
    message = f"^rewind: asks for the network at '{to}', which is no step before it; there are {known}$"
    with pytest.raises(ValueError, match=message):
        lay_out(entries, with_rewind(to), rounds=2, until=until)


def test_what_is_before_may_be_asked_for_in_rounds_too():
    entries = ["train", ["prune", "rewind", "finetune"]]
    assert len(lay_out(entries, with_rewind("train"), rounds=2, until=Until(max_loss=0.1))) == 2
    assert len(lay_out(entries, with_rewind("init"), rounds=2)) == 7
    assert len(lay_out(entries, with_rewind("prune"), rounds=2, until=Until(max_loss=0.1))) == 2


def neutral(entry, position, n_rounds):
    """Return what stands in a reference: trainings, and folding where it is asked for."""
    stages = {"fold": FoldBatchNorm(enabled=True)}
    stages |= dict.fromkeys(("train", "finetune"), Train(epochs=1, lr=0.1))
    return [(entry, stages[entry])] if entry in stages else []


@pytest.mark.parametrize(
    ("entries", "rounds", "expected"),
    [
        (["train", ["prune", "finetune"], "fold"], 3, ["train", "best of 0 to 3 × (finetune)", "fold"]),
        (["train", ["prune", "finetune"], "finetune"], 2, ["train", "best of 0 to 3 × (finetune)"]),
        (["train", "prune", "quantize"], 1, ["train"]),
        (["prune", "finetune"], 1, ["best of 0 to 1 × (finetune)"]),  # of a network that comes with its weights
        (["train", "fold", "finetune"], 1, ["train", "best of 0 to 1 × (fold → finetune)", "fold/1"]),
        (["train", ["prune", "train"]], 2, ["train", "best of 0 to 2 × (train)"]),
    ],
)
def test_of_a_references_finetunings_the_best_is_taken(entries, rounds, expected):
    plain = lay_out(entries, neutral, rounds=rounds)
    steps = best_of_finetunings(plain)
    assert names(steps) == expected
    kept = [step for step in steps if isinstance(step, Rounds)]
    assert all(step.keeps_best and step.until.is_never for step in kept)


def test_its_key_is_another_than_that_of_the_last_one():
    (_, best) = best_of_finetunings(lay_out(["train", ["prune", "finetune"]], neutral, rounds=2))
    last = Rounds(best.rounds)
    assert best.identity() != last.identity()
    assert best.steps == last.steps
