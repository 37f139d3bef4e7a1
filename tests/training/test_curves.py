"""What an epoch came to, as a row."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from effbench.training.curves import measured
from effbench.training.evaluation import Evaluation
from effbench.training.watch import EpochRecord

KINDS = {"accuracy": "ratio", "miou": "mean_of_ratios"}
COUNTS = {"accuracy": torch.tensor([[3, 4]]), "miou": torch.tensor([[1, 2], [0, 0], [1, 4]])}


def record(**changes):
    how = {"epoch": 2, "n_epochs": 3, "loss": 0.5, "counts": COUNTS, "lr": 0.1, "seconds": 1.0, "n_examples": 4}
    return EpochRecord(**{**how, "network": nn.Identity(), "validation": None, **changes})


def evaluation(correct):
    counts = {"accuracy": np.array([[[correct, 4]]])}
    return Evaluation(counts=counts, kinds={"accuracy": "ratio"}, direction="higher", loss=0.25)


def test_qualities_are_those_of_the_summed_counts():
    row = measured(record(), kinds=KINDS, validate=None, clock=lambda: 5.0)
    assert row == {"time": 5.0, "loss": 0.5, "lr": 0.1, "accuracy": 0.75, "miou": 0.375}
    assert measured(record(counts={}), kinds={}, validate=None, clock=lambda: 5.0) == {
        "time": 5.0,
        "loss": 0.5,
        "lr": 0.1,
    }


def test_validation_is_evaluated_where_it_is_asked_for():
    row = measured(record(), kinds=KINDS, validate=lambda: evaluation(1))
    assert (row["loss_val"], row["accuracy_val"], row["accuracy"]) == (0.25, 0.25, 0.75)


def test_what_the_training_evaluated_itself_is_not_evaluated_once_more():
    row = measured(record(validation=evaluation(2)), kinds=KINDS, validate=lambda: pytest.fail("evaluated"))
    assert row["accuracy_val"] == 0.5


def test_a_network_that_diverged_is_not_evaluated():
    row = measured(record(loss=math.nan), kinds=KINDS, validate=lambda: pytest.fail("evaluated"))
    assert math.isnan(row["loss"]) and "loss_val" not in row
