"""How firm a choice is: which points resamples choose, and what the chosen one loses in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.curve import Curve
from effbench.analysis.definitions.choice import NO_ROW
from effbench.analysis.definitions.methods import Method
from effbench.analysis.uncertainty.bootstrap import interval_of
from effbench.analysis.uncertainty.rounds import drawn_latencies, resampled_choices

_MOST = 0.5
NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Firmness:
    """What resamples say of a choice."""

    interval: tuple[float, float] | None
    """95 % of the costs that are chosen; None where more than half of the resamples choose nothing."""
    shares: Mapping[str, float]
    """Share of the resamples that choose each point, by its label, the most often chosen first; "none" for no point."""
    loss: tuple[float, float] | None
    """95 % of what the chosen point loses; None without one."""
    covers: str
    """What was drawn anew, as in "3 seeds" or "examples only, 1 seed"."""

    @property
    def is_stable(self) -> bool:
        """Whether one point wins at least half of the resamples."""
        return max((part for name, part in self.shares.items() if name != NONE), default=0.0) >= _MOST


def firmness_of(curve: Curve, chosen: int | None, method: Method, drawn: NDArray[np.float64], /) -> Firmness:
    """Return how firm a method's choice of a row is. drawn: losses, (n_resamples, n_points)."""
    rows, costs = resampled_choices(curve, method, drawn)
    found = costs[rows != NO_ROW]
    names, numbers = np.unique(rows, return_counts=True)
    order = np.lexsort([names, -numbers])
    return Firmness(
        interval=interval_of(found) if 2 * len(found) >= len(rows) else None,
        shares={
            NONE if names[at] == NO_ROW else curve.labels[names[at]]: float(numbers[at] / len(rows)) for at in order
        },
        loss=None if chosen is None else interval_of(drawn[:, chosen]),
        covers=what_is_covered(curve),
    )


def what_is_covered(curve: Curve, /) -> str:
    """Say what intervals on a curve cover: "3 seeds", with their examples, or "examples only, 1 seed".

    A latency's rounds, where they are covered, are named: "3 seeds, rounds".
    """
    fewest, most = int(curve.n_seeds.min()), int(curve.n_seeds.max())
    has_rounds = drawn_latencies(curve) is not None
    if most == 1 or not curve.pairs.is_paired:
        return f"examples{' and rounds' * has_rounds} only, {'1 seed' if most == 1 else 'seeds unknown'}"
    return (f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds") + ", rounds" * has_rounds
