"""How firm a choice is: which points resamples choose, and what the chosen one loses in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.curve import Curve
from effbench.analysis.definitions.choice import NO_ROW
from effbench.analysis.uncertainty.bootstrap import interval_of

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


def firmness_of(curve: Curve, chosen: int | None, rows: NDArray[np.int64], drawn: NDArray[np.float64], /) -> Firmness:
    """Return how firm the choice of a row is. rows: (n_resamples,); drawn: losses, (n_resamples, n_points)."""
    found = rows[rows != NO_ROW]
    names, numbers = np.unique(rows, return_counts=True)
    order = np.lexsort([names, -numbers])
    return Firmness(
        interval=interval_of(curve.costs[found]) if 2 * len(found) >= len(rows) else None,
        shares={
            NONE if names[at] == NO_ROW else curve.labels[names[at]]: float(numbers[at] / len(rows)) for at in order
        },
        loss=None if chosen is None else interval_of(drawn[:, chosen]),
        covers=what_is_covered(curve),
    )


def what_is_covered(curve: Curve, /) -> str:
    """Say what intervals on a curve cover: "3 seeds", with their examples, or "examples only, 1 seed"."""
    fewest, most = int(curve.n_seeds.min()), int(curve.n_seeds.max())
    if most == 1:
        return "examples only, 1 seed"
    if not curve.pairs.is_paired:
        return "examples only, seeds unknown"
    return f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"
