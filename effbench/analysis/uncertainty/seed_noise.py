"""How far losses would move with other seeds: Student's t for as many seeds as there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.columns import codes_of
from effbench.analysis.curves.curve import Curve


class SeedNoise:
    """Draws what other seeds would do to the losses of a curve's points, alike for all points.

    For losses of seeds 1 … n with mean m and deviations d, each draw is m + Σ g·d / √(n (n - 1)) · √((n - 1) / χ²),
    with a normal g for each seed and χ² of n - 1 degrees of freedom: a multivariate t with the covariance that the
    seeds have (Kotz & Nadarajah 2004, Multivariate t Distributions and Their Applications, section 1.1), and for each
    point alone the t interval of a mean. A point that has one seed, where others have more, is taken to vary from
    seed to seed as they do: it would seem the surest of all otherwise.
    """

    def __init__(self, curve: Curve, column: str, *, n_resamples: int, seed: int) -> None:
        has_seeds = "seed" in curve.runs.columns and not curve.runs["seed"].isna().any()
        self._seeds = codes_of(curve.runs["seed"]) if has_seeds else None
        self._n_resamples, self._seed = n_resamples, seed
        self._normals: dict[int, NDArray[np.float64]] = {}
        self._stretches: dict[int, NDArray[np.float64]] = {}
        self._pooled, self._most = _pooled_deviation(curve, column)

    def moved(
        self,
        drawn: NDArray[np.float64],
        losses: NDArray[np.float64],
        runs: NDArray[np.int64],
        reference_runs: NDArray[np.int64],
        /,
    ) -> NDArray[np.float64]:
        """Return a point's loss on other examples and with other seeds: (n_resamples,).

        drawn: (n_resamples, n_seeds), losses of each seed on other examples; losses: (n_seeds,), on all examples. runs
        and reference_runs: (n_seeds,), the rows behind them; where no seeds are known, the references' tell them apart.
        """
        n_seeds = len(losses)
        means = np.asarray(drawn.mean(axis=1))
        if n_seeds < 2:
            (name,) = self._names(runs, reference_runs)
            return means + self._pooled * self._normals_of(int(name)) * self._stretch(self._most)
        mean = float(losses.mean())
        normals = np.stack([self._normals_of(int(name)) for name in self._names(runs, reference_runs)], axis=1)
        spread = normals @ (losses - mean) / np.sqrt(n_seeds * (n_seeds - 1))
        return np.asarray(mean + shared_share(drawn) * (means - mean) + self._stretch(n_seeds) * spread)

    def _names(self, runs: NDArray[np.int64], reference_runs: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(reference_runs if self._seeds is None else self._seeds[runs], dtype=np.int64)

    def _normals_of(self, name: int) -> NDArray[np.float64]:
        if name not in self._normals:
            generator = np.random.default_rng((self._seed, 1, name))
            self._normals[name] = generator.standard_normal(self._n_resamples)
        return self._normals[name]

    def _stretch(self, n_seeds: int) -> NDArray[np.float64]:
        """Return by how much each draw is wider than a normal one: (n_resamples,)."""
        if n_seeds not in self._stretches:
            generator = np.random.default_rng((self._seed, 2, n_seeds))
            freedom = n_seeds - 1
            self._stretches[n_seeds] = np.sqrt(freedom / generator.chisquare(freedom, self._n_resamples))
        return self._stretches[n_seeds]


def _pooled_deviation(curve: Curve, column: str) -> tuple[float, int]:
    """Return how much a loss differs from seed to seed, over the points that have several; and the most seeds of one.

    0 where none has several.
    """
    values, pairs = np.asarray(curve.runs[column], dtype=np.float64), curve.pairs
    variances, most = [], 2
    for point in np.setdiff1d(np.arange(len(curve)), curve.references) if pairs.is_paired else ():
        own, reference = pairs.runs[pairs.points == point], pairs.reference_runs[pairs.compared_points == point]
        if len(own) > 1:
            variances.append(float(np.var(values[reference] - values[own], ddof=1)))
            most = max(most, len(own))
    finite = [value for value in variances if np.isfinite(value)]
    return (float(np.sqrt(np.mean(finite))) if finite else 0.0), most


def shared_share(drawn: NDArray[np.float64], /) -> float:
    """Return which share of the deviation of a mean over seeds, on other examples, is common to all of them.

    drawn: (n_resamples, n_seeds), at least two seeds; what is not finite is left out. Of n seeds with a common variance
    c and one of their own, o, the mean has c + o/n and each seed c + o: c = (n · var(mean) - mean(var)) / (n - 1), at
    least 0. Returns sqrt(c / var(mean)): 1 where all seeds err on the same examples, 0 where each errs on others.

    >>> rng = np.random.default_rng(0)
    >>> common, own = rng.normal(size=(100_000, 1)), rng.normal(size=(100_000, 3))
    >>> [round(shared_share(drawn), 1) for drawn in (common.repeat(3, axis=1), own, common + own)]
    [1.0, 0.0, 0.9]
    """
    defined = drawn[np.isfinite(drawn).all(axis=1)]
    n_seeds = drawn.shape[1]
    of_mean = float(defined.mean(axis=1).var()) if len(defined) else 0.0
    if of_mean <= 0:
        return 1.0
    of_seeds = float(defined.var(axis=0).mean())
    common = max(0.0, (n_seeds * of_mean - of_seeds) / (n_seeds - 1))
    return float(np.sqrt(min(1.0, common / of_mean)))
