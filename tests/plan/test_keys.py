"""Keys: the same content anywhere has the same key, and each holds all that came before it."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from effbench.plan.keys import digest, prefix_keys, prefix_keys_after, seed_of

ROOT = {"network": "a", "seed": 0}


@dataclasses.dataclass(frozen=True)
class Named:
    """A stand-in for a step."""

    name: str

    def identity(self):
        return {"name": self.name}


TRAIN, PRUNE = Named("train"), Named("prune")


def test_there_is_one_for_the_fresh_network_and_one_after_each_step():
    keys = prefix_keys(ROOT, [TRAIN, PRUNE])
    assert len(set(keys)) == 3
    assert prefix_keys(ROOT, [TRAIN, PRUNE]) == keys


def test_a_longer_recipe_begins_with_the_keys_of_the_shorter():
    assert prefix_keys(ROOT, [TRAIN, PRUNE])[:2] == prefix_keys(ROOT, [TRAIN])


def test_keys_can_be_continued_from_any_prefix():
    keys = prefix_keys(ROOT, [TRAIN, PRUNE, TRAIN])
    assert prefix_keys_after(keys[1], [PRUNE, TRAIN]) == keys[2:]
    assert prefix_keys_after(keys[1], []) == ()


def test_root_and_order_matter_the_order_of_names_in_the_root_does_not():
    key = prefix_keys(ROOT, [TRAIN, PRUNE])[-1]
    assert prefix_keys({**ROOT, "seed": 1}, [TRAIN, PRUNE])[-1] != key
    assert prefix_keys(ROOT, [PRUNE, TRAIN])[-1] != key
    assert prefix_keys({"seed": 0, "network": "a"}, [TRAIN, PRUNE])[-1] == key


def test_another_process_another_day_finds_the_same_key():
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
