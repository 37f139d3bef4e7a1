"""Who pays: the examples that a point has wrong and its reference had right, and the other way round."""

from __future__ import annotations

import numpy as np

from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.curve import Curve


def flips_of(curve: Curve, counts: Counts, row: int, /) -> tuple[float, float] | None:
    """Return the shares of examples that are newly wrong and newly right at a point, means over its seeds.

    Their difference is what the point loses; a small one may hide many (Hooker et al. 2019, arXiv:1911.05248, section
    2.2). None where examples are not right or wrong, each one of equal weight, or runs are not paired.
    """
    if counts.kind != "ratio" or not curve.pairs.is_paired:
        return None
    keys = curve.runs["run_key"]
    shares = []
    own = curve.pairs.runs[curve.pairs.points == row]
    reference = curve.pairs.reference_runs[curve.pairs.compared_points == row]
    for run, other in zip(own, reference, strict=True):
        there, before = (np.asarray(counts.by_run[keys.iloc[at]])[:, 0] for at in (run, other))
        if not (np.isin(there[:, 0], (0, 1)).all() and np.isin(before[:, 0], (0, 1)).all()):
            return None
        if not ((there[:, 1] == 1).all() and (before[:, 1] == 1).all()):
            return None
        is_right, was_right = there[:, 0] == 1, before[:, 0] == 1
        shares.append((np.mean(was_right & ~is_right), np.mean(is_right & ~was_right)))
    wrong, right = np.mean(shares, axis=0)
    return float(wrong), float(right)
