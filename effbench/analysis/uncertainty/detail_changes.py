"""Who pays, with its uncertainty: what the worst class loses at a point, and how much worse its calibration is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.details import N_BINS, calibration_bins
from effbench.analysis.uncertainty.bootstrap import N_RESAMPLES, draws_of, interval_of
from effbench.analysis.uncertainty.seed_noise import SeedNoise

CALIBRATION = "calibration_error"
_CLOSENESS = 1e-6
"""By how much a logged value may differ from that of the examples."""
_Draws = NDArray[np.uint8]
_BLOCK = 100
"""Resamples that are summed at once."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a point loses against its reference, mean over seeds; negative where it is better."""

    loss: float
    interval: tuple[float, float]
    """95 % of what would be measured with other examples, as many, and other seeds."""


def detail_changes(
    curve: Curve, counts: Counts, row: int, /, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> dict[str, Change]:
    """Return what the worst class loses at a point, and by how much its calibration error is larger, by their columns.

    counts: of the test split, with what is known of its examples (`Counts.examples`); where that is not enough, or is
    not what the column was made of, the column is left out. Resamples as for the losses themselves: the same examples
    drawn for a run and its reference, seeds by Student's t. The worst class is looked for anew in each, on either side.
    A minimum and a sum of absolute values are biased where examples are few, and once more where they are resampled:
    the draws are moved so that their mean is what was measured, and the interval is of what would be measured with as
    many examples, not of what would be with any number. Nothing without paired runs.
    """
    column = curve.test_column
    if column is None or not curve.pairs.is_paired or curve.quality is None:
        return {}
    keys = [str(key) for key in curve.runs["run_key"]]
    own = curve.pairs.runs[curve.pairs.points == row]
    reference = curve.pairs.reference_runs[curve.pairs.compared_points == row]
    known = [counts.examples.get(keys[run], {}) for run in (*own, *reference)]
    draws = draws_of(len(counts.by_run[keys[own[0]]]), n_resamples, seed)
    everything = np.ones((1, draws.shape[1]), dtype=np.uint8)

    def change(name: str, of_run: Callable[[int, _Draws], NDArray[np.float64]], sign: int) -> Change | None:
        drawn, measured = (
            np.stack(
                [sign * (of_run(b, which) - of_run(a, which)) for a, b in zip(own, reference, strict=True)], axis=1
            )
            for which in (draws, everything)
        )
        defined = drawn[np.isfinite(drawn).all(axis=1)]
        logged = np.asarray(curve.runs[name], dtype=np.float64)
        said = sign * (logged[reference] - logged[own])
        if not len(defined) or not np.allclose(measured[0], said, rtol=0, atol=_CLOSENESS):  # NaN, too
            return None
        seeds = SeedNoise(curve, name, n_resamples=n_resamples, seed=seed)
        centred = drawn - defined.mean(axis=0) + measured
        moved = seeds.moved(centred, measured[0], own, reference)
        return Change(loss=float(measured.mean()), interval=interval_of(moved[np.isfinite(moved)]))

    def worst(run: int, which: _Draws) -> NDArray[np.float64]:
        return _worst_group(np.asarray(counts.by_run[keys[run]]), counts.examples[keys[run]], which, curve.sign)

    def calibration(run: int, which: _Draws) -> NDArray[np.float64]:
        return _calibration_error(counts.examples[keys[run]], which)

    found = {}
    for name, needed, of_run, sign in (
        (f"{curve.quality.name}_worst_class", {"group"}, worst, curve.sign),
        (CALIBRATION, {"confidence", "is_right"}, calibration, -1),
    ):
        is_known = name == CALIBRATION or counts.kind == "ratio"
        if is_known and name in curve.runs.columns and all(needed <= set(examples) for examples in known):
            found[name] = change(name, of_run, sign)
    return {name: value for name, value in found.items() if value is not None}


def _worst_group(
    counts: NDArray[Any], examples: Mapping[str, NDArray[Any]], draws: _Draws, sign: int
) -> NDArray[np.float64]:
    """Return the worst group's ratio in each resample, (n_resamples,). counts: (n_examples, 1, 2)."""
    _, groups = np.unique(examples["group"], return_inverse=True)
    numerators, denominators = (_sums(counts[:, 0, part], groups, draws) for part in (0, 1))
    ratios = np.divide(numerators, denominators, out=np.full_like(numerators, np.nan), where=denominators > 0)
    return np.asarray(np.where(np.isnan(ratios), np.inf, sign * ratios).min(axis=1) * sign)


def _calibration_error(examples: Mapping[str, NDArray[Any]], draws: _Draws) -> NDArray[np.float64]:
    """Return the expected calibration error in each resample, (n_resamples,)."""
    confidence = examples["confidence"]
    if not ((confidence >= 0) & (confidence <= 1)).all():  # NaN, too, of a network that diverged
        return np.full(len(draws), np.nan)
    gaps = _sums(examples["is_right"] - confidence.astype(np.float64), calibration_bins(confidence), draws, N_BINS)
    return np.asarray(np.abs(gaps).sum(axis=1) / draws.sum(axis=1))


def _sums(
    values: NDArray[Any], groups: NDArray[np.int64], draws: _Draws, n_groups: int | None = None
) -> NDArray[np.float64]:
    """Return each group's sum of values in each resample: (n_resamples, n_groups)."""
    n_examples = len(values)
    shape = (n_examples, int(groups.max()) + 1 if n_groups is None else n_groups)
    table = sparse.csc_array((values.astype(np.float64), (np.arange(n_examples), groups)), shape=shape)
    parts = [table.T @ draws[at : at + _BLOCK].T.astype(np.float64) for at in range(0, len(draws), _BLOCK)]
    return np.asarray(np.concatenate(parts, axis=1).T)
