"""Dataclasses from nodes of the configuration: what does not fit is said with its whole key."""

from dataclasses import dataclass

import pytest

from effbench.checks.fields import check_fields
from effbench.config.typed import typed, unknown_name
from effbench.training.loop import TrainingOptions

GOOD = {"epochs": 3, "lr": 1}


@dataclass(frozen=True, kw_only=True)
class Span:
    low: int
    high: int = 9

    def __post_init__(self):
        check_fields(self)
        if self.low > self.high:
            raise ValueError(f"low={self.low}: must be at most high={self.high}")


def test_a_node_that_fits_becomes_an_instance():
    options = typed(TrainingOptions, GOOD, where="train")
    assert options == TrainingOptions(epochs=3, lr=1.0)
    assert type(options.lr) is float


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", "x", "train.epochs=x: must be a whole number, 0 or more"),
        ("epochs", 1.5, "train.epochs=1.5: must be a whole number, 0 or more"),
        ("epochs", True, "train.epochs=true: must be a whole number, 0 or more"),
        ("epochs", None, "train.epochs=null: must be a whole number, 0 or more"),
        ("lr", "x", "train.lr=x: must be a number above 0"),
        ("lr", -1, "train.lr=-1: must be a number above 0"),
        ("layout", "rows", "train.layout=rows: must be channels_last or contiguous"),
        ("epoch", 3, "train.epoch: there is no such key; did you mean train.epochs?"),
    ],
)
def test_names_key_value_and_what_is_allowed(name, value, message):
    with pytest.raises(ValueError) as refusal:
        typed(TrainingOptions, {**GOOD, name: value}, where="train")
    assert str(refusal.value) == message


def test_a_key_that_is_needed_must_be_given():
    with pytest.raises(ValueError, match=r"^train\.lr: must be given$"):
        typed(TrainingOptions, {"epochs": 3}, where="train")


def test_what_relates_two_fields_is_said_with_the_key_as_well():
    with pytest.raises(ValueError, match=r"^span\.low=10: must be at most high=9$"):
        typed(Span, {"low": 10}, where="span")


def test_a_name_that_is_near_none_gets_the_list():
    assert unknown_name("prnue", ["prune", "bits"], "key") == "prnue: there is no such key; did you mean prune?"
    assert unknown_name("PRUNE", ["prune", "bits"], "key") == "PRUNE: there is no such key; did you mean prune?"
    assert unknown_name("x", ["prune", "bits"], "key") == "x: there is no such key; known: bits, prune"
    assert unknown_name("x", ["prune", "bits"], "key", shown=["b"]).endswith("known: b")
