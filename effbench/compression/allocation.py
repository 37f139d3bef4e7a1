"""One choice for each layer under a budget: the allocations that no other beats in both cost and loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_STATES = 20_000
"""Allocations that are followed at once; where there are more, they are thinned out evenly over the costs."""


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """Allocations in ascending order of cost and so in strictly descending order of loss."""

    costs: NDArray[np.int64]
    """(n,)."""
    losses: NDArray[np.float64]
    """(n,), sums over the layers."""
    choices: NDArray[np.int8]
    """(n, n_layers), the number of each layer's choice."""

    def __len__(self) -> int:
        return len(self.costs)

    def within(self, budget: float, /) -> int:
        """Return the number of the allocation of least loss that costs at most `budget`; -1 where none does."""
        return int(np.searchsorted(self.costs, budget, side="right")) - 1


def frontier(costs: NDArray[np.int64], losses: NDArray[np.float64], /, *, max_states: int = MAX_STATES) -> Frontier:
    """Return the allocations that are Pareto optimal in the sums of their layers' costs and losses.

    A multiple-choice knapsack for all budgets at once, by dynamic programming over the layers: of partial allocations
    one that another beats in both sums is dropped, which loses nothing (Nemhauser & Ullmann 1969). Exact while there
    are no more than `max_states`. Beyond that some are left out, and what is kept may be beaten by what was not; it is
    never over its cost, a larger budget never gets a larger loss, and no uniform allocation (the same choice in every
    layer) is better.

    Parameters
    ----------
    costs
        (n_layers, n_choices), of each choice in each layer, none negative.
    losses
        (n_layers, n_choices), finite, of any sign.
    max_states
        At least 2.

    Raises
    ------
    ValueError
        If the shapes differ, if there is no choice or more than 127, if a cost is negative or a loss is not finite.

    Examples
    --------
    >>> best = frontier(np.array([[4, 2], [40, 20]]), np.array([[0.0, 3.0], [0.0, 1.0]]))
    >>> best.costs.tolist(), best.choices[best.within(30)].tolist()
    ([22, 24, 44], [0, 1])
    """
    if costs.shape != losses.shape or costs.ndim != 2 or not 1 <= costs.shape[1] <= 127:
        raise ValueError(
            f"costs {costs.shape} and losses {losses.shape} must be (n_layers, n_choices), 1 to 127 choices"
        )
    if (costs < 0).any() or not np.isfinite(losses).all():
        raise ValueError("costs must not be negative, and losses must be finite")
    n_layers, n_choices = costs.shape
    states = Frontier(costs=np.zeros(1, np.int64), losses=np.zeros(1), choices=np.zeros((1, 0), np.int8))
    for layer in range(n_layers):
        each = np.tile(np.arange(n_choices, dtype=np.int8), len(states))
        grown = Frontier(
            costs=(states.costs[:, None] + costs[layer]).ravel(),
            losses=(states.losses[:, None] + losses[layer]).ravel(),
            choices=np.column_stack([states.choices.repeat(n_choices, axis=0), each]),
        )
        states = _thinned(_undominated(grown), max_states)
    uniform = np.tile(np.arange(n_choices, dtype=np.int8)[:, None], (1, n_layers))
    return _undominated(
        Frontier(
            costs=np.concatenate([states.costs, costs.sum(0)]),
            losses=np.concatenate([states.losses, losses.sum(0)]),
            choices=np.concatenate([states.choices, uniform]),
        )
    )


def _undominated(states: Frontier) -> Frontier:
    """Return the states whose loss is below that of every cheaper one, in ascending order of cost."""
    order = np.lexsort((states.losses, states.costs))
    losses = states.losses[order]
    least_before = np.concatenate([[np.inf], np.minimum.accumulate(losses)[:-1]])
    return _pick(states, order[losses < least_before])


def _thinned(states: Frontier, max_states: int) -> Frontier:
    """Return at most `max_states` states: of budgets evenly spread over the costs, the best allocation of each."""
    if len(states) <= max_states:
        return states
    budgets = np.linspace(states.costs[0], states.costs[-1], max_states)
    return _pick(states, np.unique(np.searchsorted(states.costs, budgets, side="right") - 1))


def _pick(states: Frontier, numbers: NDArray[np.int64]) -> Frontier:
    return Frontier(costs=states.costs[numbers], losses=states.losses[numbers], choices=states.choices[numbers])
