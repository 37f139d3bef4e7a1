"""Allocations under a budget: exact where they can be, never over it, never worse than the same choice everywhere."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.compression.allocation import frontier


@st.composite
def problems(draw, max_layers=5):
    n_layers, n_choices = draw(st.integers(1, max_layers)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    costs = rng.integers(0, draw(st.sampled_from([3, 30, 10**9])), (n_layers, n_choices))
    losses = np.round(rng.normal(size=(n_layers, n_choices)), draw(st.sampled_from([0, 6])))
    return costs, losses


def every_allocation(costs, losses):
    layers = np.arange(len(costs))
    for choice in itertools.product(range(costs.shape[1]), repeat=len(costs)):
        yield costs[layers, choice].sum(), losses[layers, choice].sum()


@given(problems())
def test_no_allocation_is_better_than_the_one_of_its_budget(problem):
    costs, losses = problem
    best = frontier(costs, losses)
    allocations = list(every_allocation(costs, losses))
    for budget in {cost for cost, _ in allocations}:
        least = min(loss for cost, loss in allocations if cost <= budget)
        assert best.losses[best.within(budget)] == pytest.approx(least, abs=1e-9)
    assert best.within(min(cost for cost, _ in allocations) - 1) == -1


@given(problems(max_layers=12), st.sampled_from([2, 5, 40, 20_000]))
def test_what_is_thinned_out_is_still_in_budget_monotone_and_no_worse_than_uniform(problem, max_states):
    costs, losses = problem
    best = frontier(costs, losses, max_states=max_states)
    layers = np.arange(len(costs))
    for cost, loss, choice in zip(best.costs, best.losses, best.choices, strict=True):
        assert costs[layers, choice].sum() == cost
        assert losses[layers, choice].sum() == pytest.approx(loss, abs=1e-9)
    assert (np.diff(best.costs) > 0).all()
    assert (np.diff(best.losses) < 0).all()
    assert len(best) <= max_states + costs.shape[1]
    for choice in range(costs.shape[1]):
        number = best.within(costs[:, choice].sum())
        assert number >= 0
        assert best.losses[number] <= losses[:, choice].sum() + 1e-9


def test_a_hundred_layers_are_followed_exactly_enough():
    rng = np.random.default_rng(0)
    widths = np.array([8, 6, 4, 3, 2])
    costs = rng.integers(500, 3_000_000, (100, 1)) * widths
    losses = np.sort(rng.exponential(1, (100, 1)) * 4.0**-widths + rng.normal(0, 1e-4, (100, 5)), axis=1)
    exact, thinned = frontier(costs, losses, max_states=10**6), frontier(costs, losses, max_states=2000)
    for bits in (2.5, 3, 4, 6):
        budget = bits * costs[:, 4].sum() / 2
        one, other = (each.losses[each.within(budget)] for each in (exact, thinned))
        assert one <= other <= one + 0.02 * losses[:, 4].sum()


@pytest.mark.parametrize(
    ("costs", "losses"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2))),
        (np.zeros((2, 0), int), np.zeros((2, 0))),
        (np.array([[-1]]), np.array([[0.0]])),
        (np.array([[1]]), np.array([[np.nan]])),
    ],
)
def test_what_is_no_problem_is_refused(costs, losses):
    with pytest.raises(ValueError, match="must be"):
        frontier(costs, losses)
