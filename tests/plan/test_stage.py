import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from effbench.plan.recipe import lay_out
from effbench.plan.chain import Step
from effbench.plan.keys import digest, prefix_keys, seed_of
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.train import Train

TRAIN = Step("train", Train(epochs=1, lr=0.1))
PRUNE = Step("prune", Prune(ratio=0.5))
ROOT = {"network": "a", "seed": 0}


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A stand-in for a stage: it only says where it was asked for."""

    VERSION: ClassVar[int] = 1
    label: str

    def apply(self, model, context, /):
        return model


def choose(entry, position, n_rounds):
    return [] if entry == "absent" else [(entry, Labelled(label=f"{position} of {n_rounds}"))]


class TestLayOut:
    def test_entries_stand_in_their_order(self):
        steps = lay_out(["train", "prune", "quantize"], choose, rounds=3)
        assert [str(step) for step in steps] == ["train", "prune", "quantize"]
        assert {step.stage.label for step in steps} == {"1 of 1"}

    def test_a_group_is_repeated_as_a_group(self):
        steps = lay_out(["train", ["prune", "finetune"], "quantize"], choose, rounds=2)
        assert [str(step) for step in steps] == ["train", "prune", "finetune", "prune/1", "finetune/1", "quantize"]
        assert [step.stage.label for step in steps[1:5]] == ["1 of 2", "1 of 2", "2 of 2", "2 of 2"]

    def test_a_stage_that_stands_in_two_places_is_counted(self):
        steps = lay_out(["train", "finetune", "prune", "finetune"], choose, rounds=1)
        assert [str(step) for step in steps] == ["train", "finetune", "prune", "finetune/1"]

    def test_what_is_not_chosen_is_not_there(self):
        steps = lay_out(["train", ["absent", "finetune"], "absent"], choose, rounds=2)
        assert [str(step) for step in steps] == ["train", "finetune", "finetune/1"]


class TestPrefixKeys:
    def test_there_is_one_for_the_fresh_network_and_one_after_each_step(self):
        keys = prefix_keys(ROOT, [TRAIN, PRUNE])
        assert len(set(keys)) == 3
        assert prefix_keys(ROOT, [TRAIN, PRUNE]) == keys

    def test_a_longer_recipe_begins_with_the_keys_of_the_shorter(self):
        assert prefix_keys(ROOT, [TRAIN, PRUNE])[:2] == prefix_keys(ROOT, [TRAIN])

    @pytest.mark.parametrize(
        "changed",
        [
            Step("train", Train(epochs=2, lr=0.1)),
            Step("train", Train(epochs=1, lr=0.1, precision="bfloat16")),
            Step("pretrain", TRAIN.stage),
            Step("train", TRAIN.stage, occurrence=1),
        ],
    )
    def test_whatever_decides_a_step_changes_its_key_and_those_after_it(self, changed):
        one, other = prefix_keys(ROOT, [TRAIN, PRUNE]), prefix_keys(ROOT, [changed, PRUNE])
        assert one[0] == other[0]
        assert one[1] != other[1]
        assert one[2] != other[2]

    def test_root_order_version_and_class_matter(self, monkeypatch):
        key = prefix_keys(ROOT, [TRAIN, PRUNE])[-1]
        assert prefix_keys({**ROOT, "seed": 1}, [TRAIN, PRUNE])[-1] != key
        assert prefix_keys(ROOT, [PRUNE, TRAIN])[-1] != key
        assert prefix_keys({"seed": 0, "network": "a"}, [TRAIN, PRUNE])[-1] == key
        monkeypatch.setattr(Prune, "VERSION", 99)
        assert prefix_keys(ROOT, [TRAIN, PRUNE])[-1] != key
        one, other = (
            prefix_keys(
                ROOT, [Step("x", dataclasses.make_dataclass(name, [("bits", int)], namespace={"VERSION": 1})(2))]
            )
            for name in ("One", "Other")
        )
        assert one != other

    def test_every_field_of_a_stage_is_in_its_key(self):
        stages = [
            Prune(ratio=0.5),
            Prune(ratio=0.5, criterion="random"),
            Prune(ratio=0.5, scope="layer"),
            Quantize(bits=4),
            Quantize(bits=4, scheme="affine"),
            Quantize(bits=4, granularity="tensor"),
        ]
        assert len({prefix_keys(ROOT, [Step("x", stage)]) for stage in stages}) == len(stages)

    def test_another_process_another_day_finds_the_same_key(self):
        assert digest({"b": [1, "x", None], "a": {"z": 0.1}}) == "932821ddfb30a17c5b51"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_key_is_never_made_of_what_equals_nothing(value):
    with pytest.raises(ValueError):
        digest({"ratio": value})


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_seeds_for_purposes_are_repeatable_unlike_and_fit_torch(one, other):
    assert seed_of(one, "train") == seed_of(one, "train")
    assert seed_of(one, "train") != seed_of(one, "prune")
    assert (seed_of(one, "train") == seed_of(other, "train")) == (one == other)
    torch.Generator().manual_seed(seed_of(one, "train"))


def test_a_context_draws_the_same_numbers_whatever_ran_before(toy_data, make_context):
    context = make_context(toy_data, seed=3, step="prune")
    first = torch.rand(5, generator=context.generator())
    torch.rand(100)
    assert torch.equal(first, torch.rand(5, generator=context.generator()))
    for other in (make_context(toy_data, seed=4, step="prune"), make_context(toy_data, seed=3, step="prune/1")):
        assert not torch.equal(first, torch.rand(5, generator=other.generator()))
