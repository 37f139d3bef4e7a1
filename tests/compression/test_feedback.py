import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.compression.feedback import output_error, round_with_feedback, spread_of_errors

SEEDED = settings(deadline=None, derandomize=True, max_examples=30)
STEP = 0.5


def nearest(values, column):
    return torch.round(values / STEP) * STEP


def round_once(rows, moments):
    return round_with_feedback(rows[None], spread_of_errors(moments[None]), nearest)[0]


def lost(rows, rounded, moments):
    return output_error(rows[None], rounded[None], moments[None])


def made(seed, n_rows=12, n_columns=40, n_examples=200, n_patterns=6):
    """Return rows, inputs that depend on each other, and their moments."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n_examples, n_patterns)) @ rng.normal(size=(n_patterns, n_columns))
    inputs += 0.3 * rng.normal(size=inputs.shape)
    inputs = torch.from_numpy(inputs)
    return torch.from_numpy(rng.normal(size=(n_rows, n_columns))), inputs, inputs.T @ inputs / n_examples


@SEEDED
@given(st.integers(0, 2**32 - 1))
def test_it_loses_less_than_rounding_does(seed):
    rows, _, moments = made(seed)
    rounded = round_once(rows, moments)
    assert torch.equal(nearest(rounded, 0), rounded)
    assert lost(rows, rounded, moments) < 0.7 * lost(rows, nearest(rows, 0), moments)


def test_the_error_that_is_predicted_is_the_one_that_is_measured():
    rows, inputs, moments = made(0)
    rounded = round_once(rows, moments)
    measured = ((rows - rounded) @ inputs.T).square().sum() / len(inputs)
    assert lost(rows, rounded, moments) == pytest.approx(float(measured))


def test_blocks_of_columns_are_the_same_as_one(monkeypatch):
    rows, _, moments = made(1, n_columns=50)
    whole = round_once(rows, moments)
    monkeypatch.setattr("effbench.compression.feedback._BLOCK", 7)
    assert torch.equal(round_once(rows, moments), whole)


@pytest.mark.parametrize("dead", [(3,), (0, 39), tuple(range(40))])
def test_inputs_that_are_never_there_break_nothing(dead):
    """keras#23532: finite weights, and no more error than rounding's."""
    rows, inputs, _ = made(2)
    inputs[:, dead] = 0
    moments = inputs.T @ inputs / len(inputs)
    rounded = round_once(rows, moments)
    assert torch.isfinite(rounded).all()
    assert lost(rows, rounded, moments) <= lost(rows, nearest(rows, 0), moments)
    assert torch.equal(rounded[:, list(dead)], nearest(rows, 0)[:, list(dead)]) or len(dead) < 40


def test_what_is_not_finite_is_refused():
    rows, _, moments = made(3)
    rows[0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        round_once(rows, moments)
