"""Where to look next for the best point of an axis's curve: beside the best one so far.

Pure, as `plan.bisection` is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping

from effbench.plan.bisection import Scale, split


def value_beside(
    scale: Scale, costs: Mapping[float, float], best: Collection[float], /, *, taken: Collection[float] = ()
) -> float | None:
    """Return the value that splits the widest gap beside those that are the best; None where none is left.

    costs: of the values that are known, the weakest of the scale among them where that is known. best: one value, or
    several where no single one is known to be the best. taken: values without a known cost, which bound gaps as others
    do, and are not tried again. A gap is as wide as the ratio of the costs at its ends. Where the one best value
    compresses most, what lies beyond it comes first (`split` says how far), as the best may be anywhere there.

    >>> prune = Scale(compresses_up=True, weakest=0, limit=1, is_whole=False, is_geometric=False, first=None,
    ...               allows=lambda value: 0 <= value < 1)
    >>> costs = {0: 1.0, 0.5: 0.5, 0.9: 0.1}
    >>> value_beside(prune, costs, [0.5]), value_beside(prune, costs, [0.9]), value_beside(prune, costs, [0])
    (0.7, 0.95, 0.25)
    """
    gaps = sorted(_gaps(scale, costs, best, taken), key=lambda gap: (-gap[0], scale.strength(gap[1])))
    values = (split(scale, weaker, stronger) for _, weaker, stronger in gaps)
    return next((value for value in values if value is not None and value not in costs and value not in taken), None)


def _gaps(
    scale: Scale, costs: Mapping[float, float], best: Collection[float], taken: Collection[float]
) -> Iterator[tuple[float, float, float | None]]:
    """Yield the gaps beside the best values: how wide each is, its less compressing end, and its other end if any."""
    known = sorted(costs, key=scale.strength)
    bounds = sorted({*known, *taken}, key=scale.strength)
    for weaker, stronger in itertools.pairwise(known):
        if weaker in best:
            yield _width(costs[weaker], costs[stronger]), weaker, bounds[bounds.index(weaker) + 1]
        if stronger in best and (weaker not in best or bounds.index(stronger) - bounds.index(weaker) > 1):
            yield _width(costs[weaker], costs[stronger]), bounds[bounds.index(stronger) - 1], stronger
    if known and list(best) == known[-1:]:
        beyond = bounds[bounds.index(known[-1]) + 1 :]
        yield math.inf, known[-1], beyond[0] if beyond else None


def _width(one: float, other: float) -> float:
    return abs(math.log(one / other)) if one > 0 and other > 0 else math.inf
