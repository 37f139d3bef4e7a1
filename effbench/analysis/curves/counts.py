"""Counts of examples that can be summed, and the quality that follows from their sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

QualityKind = Literal["ratio", "mean_of_ratios", "exp_of_ratio"]
"""How a quality follows from sums: n/d (accuracy); the mean of several n/d (mIoU); exp(n/d) (perplexity)."""

KINDS: tuple[str, ...] = get_args(QualityKind)


def quality_from_sums(sums: ArrayLike, kind: QualityKind, /) -> NDArray[np.float64]:
    """Return the quality that follows from sums of counts: (...,).

    sums: (..., n_ratios, 2), the numerator and the denominator of each ratio, both summed over the examples; n_ratios
    is 1 but for "mean_of_ratios". This is the mean of the ratios whose denominator is not 0: a class that no example
    has, and that was predicted for none, has no intersection over union and is left out. A quality without a
    denominator is NaN. ValueError where the shape or the kind is another.

    >>> float(quality_from_sums([[9, 12]], "ratio"))
    0.75
    >>> float(quality_from_sums([[9, 12], [0, 0], [1, 4]], "mean_of_ratios"))
    0.5
    """
    table = np.asarray(sums, dtype=np.float64)
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: {', '.join(KINDS)} are the kinds of quality")
    if table.ndim < 2 or table.shape[-1] != 2 or (table.shape[-2] != 1 and kind != "mean_of_ratios"):
        n_ratios = "n_ratios" if kind == "mean_of_ratios" else "1"
        raise ValueError(f"sums have the shape {table.shape}: (..., {n_ratios}, 2) is needed for kind {kind!r}")
    numerators, denominators = table[..., 0], table[..., 1]
    is_defined = denominators > 0
    ratios = np.divide(numerators, denominators, out=np.zeros_like(numerators), where=is_defined)
    n_defined = is_defined.sum(axis=-1)
    mean: NDArray[np.float64] = np.full(n_defined.shape, np.nan)
    np.divide(ratios.sum(axis=-1), n_defined, out=mean, where=n_defined > 0)
    if kind == "exp_of_ratio":
        with np.errstate(over="ignore"):  # beyond the largest float the quality is infinite
            np.exp(mean, out=mean)
    return mean


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """What each example of a split adds to the quality of each run. ValueError, which names the run, on a wrong array.

    >>> counts = Counts.of_correct({"3f": np.array([True, False, True, True])})
    >>> counts.kind, counts.by_run["3f"].shape, counts.quality_of("3f")
    ('ratio', (4, 1, 2), 0.75)
    """

    kind: QualityKind
    """How the quality follows from the sums over examples."""

    by_run: Mapping[str, NDArray[Any]]
    """By run key: (n_examples, n_ratios, 2), numerators and denominators, any real dtype, in the split's one order."""

    examples: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    """By run key, what else is known of each example, (n_examples,): its "group" (such as its class), the "confidence"
    in what was predicted and whether that "is_right"; of test examples alone, where the task knows it."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r}: {', '.join(KINDS)} are the kinds of quality")
        for key, counts in self.by_run.items():
            _check(key, np.asarray(counts), self.kind)
            for name, values in self.examples.get(key, {}).items():
                if np.shape(values) != np.shape(counts)[:1]:
                    raise ValueError(f"run {key}: it has {len(counts)} examples, and {name} of {np.shape(values)}")

    @classmethod
    def of_correct(cls, correct: Mapping[str, NDArray[np.bool_]], /) -> Counts:
        """Return the counts of an accuracy. correct: by run key, which examples were right, (n_examples,) bool."""
        by_run = {}
        for key, right in correct.items():
            flags = np.asarray(right)
            if flags.dtype != np.bool_ or flags.ndim != 1:
                raise ValueError(
                    f"run {key}: which examples were right has the shape {flags.shape} and the dtype {flags.dtype}: "
                    "(n_examples,) bool is needed"
                )
            by_run[key] = np.stack([flags, np.ones_like(flags)], axis=-1)[:, None].astype(np.uint8)
        return cls(kind="ratio", by_run=by_run)

    def quality_of(self, run_key: str, /) -> float:
        """Return the quality of a run on all examples; NaN where no example has a denominator."""
        counts = np.asarray(self.by_run[run_key])
        exact = np.float64 if counts.dtype.kind == "f" else np.int64
        return float(quality_from_sums(counts.sum(axis=0, dtype=exact), self.kind))


def _check(key: str, counts: NDArray[Any], kind: QualityKind) -> None:
    is_table = counts.ndim == 3 and counts.shape[2] == 2 and counts.size > 0
    if not is_table or (counts.shape[1] != 1 and kind != "mean_of_ratios"):
        n_ratios = "n_ratios" if kind == "mean_of_ratios" else "1"
        raise ValueError(
            f"run {key}: its counts have the shape {counts.shape}: (n_examples, {n_ratios}, 2), not empty, is needed "
            f"for kind {kind!r}"
        )
    if counts.dtype.kind not in "biuf":
        raise ValueError(f"run {key}: its counts have the dtype {counts.dtype}: real numbers are needed")
    wrong = ~np.isfinite(counts) | (np.arange(2) == 1) & (counts < 0)
    if wrong.any():
        example, ratio, part = (int(place) for place in np.argwhere(wrong)[0])
        raise ValueError(
            f"run {key}: the {('numerator', 'denominator')[part]} {ratio} of example {example} is "
            f"{counts[example, ratio, part]!s}: finite numbers are needed, and no denominator below 0"
        )
