"""Numbers as they are said: percentage points, losses, shares."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.curve import Curve
from effbench.analysis.curves.quality import spaced

# Hundredths are said with one decimal; a plain number may be small, and is said to within this share of itself.
_ROUNDING = 0.05


def quality_word(curve: Curve, /) -> str:
    """Return a quality as sentences call it: its plain name is the validation's, on which points are chosen."""
    return _named(curve, validation="", test="test ")


def quality_title(curve: Curve, /) -> str:
    """Return a quality as a figure's axis calls it, with its unit: "validation accuracy (%)"."""
    return _named(curve, validation="validation ", test="test ") + (" (%)" if curve.is_fraction else "")


def _named(curve: Curve, *, validation: str, test: str) -> str:
    if curve.quality is None:
        return curve.quality_column
    return (validation if curve.quality_column == curve.quality.column else test) + spaced(curve.quality.name)


def scale(curve: Curve, /) -> float:
    """Return by what differences of the quality are multiplied to be said: 100 where it is a fraction."""
    return 100.0 if curve.is_fraction else 1.0


def difference_unit(curve: Curve, /) -> str:
    """Return the unit of differences, "points" or "mIoU points"; empty where there is none."""
    if curve.quality is None:
        return "points" if curve.is_fraction else ""
    return curve.quality.unit


def allowance(curve: Curve, tolerance: float, /) -> str:
    """Write a tolerance: "2 points" where the quality is a fraction, else the number itself, with its unit."""
    text, unit = f"{scale(curve) * tolerance:g}", _unit_in_sentences(curve)
    return f"{text} {unit.removesuffix('s') if text == '1' and unit.endswith('points') else unit}".rstrip()


def named(curve: Curve, row: int, /) -> str:
    """Write a point's label, and on how many of its seeds it was compared where that is not all of them."""
    n_seeds, n_asked = curve.n_seeds[row], curve.n_asked[row]
    return curve.labels[row] + (f" ({n_seeds} of {n_asked} seeds)" if n_seeds < n_asked else "")


def change(curve: Curve, row: int, /, *, beyond: float | None = None, unit: bool = True) -> str:
    """Write what a point loses or gains against its reference: "loses 6.3 points", or without the unit "loses 6.3".

    beyond: a tolerance that the loss exceeds; as many decimals are written as it takes to see that.
    """
    return _change(curve, float(curve.losses[row]), beyond=beyond, unit=unit)


def change_on_test(curve: Curve, row: int, /, *, interval: tuple[float, float] | None = None) -> str:
    """Write what a point that was chosen on validation loses or gains on test, as in "test: gains 0.5".

    interval: 95 % of that loss, of which half its width is written: "test: loses 1.2 ± 0.4". Empty where the curve is
    of another quality, or where it was not measured on test.
    """
    if curve.test_column is None:
        return ""
    loss = float(curve.losses_of(curve.test_column)[row])
    if math.isnan(loss):
        return ""
    about = "" if interval is None else f" ± {amount(curve, scale(curve) * (interval[1] - interval[0]) / 2)}"
    return f"test: {_change(curve, loss, unit=False)}{about}"


def _change(curve: Curve, loss: float, *, beyond: float | None = None, unit: bool = True) -> str:
    loss *= scale(curve)
    text = amount(curve, abs(loss), other_than=None if beyond is None else scale(curve) * beyond)
    verb = "gains" if loss < 0 and float(text) > 0 else "loses"
    return f"{verb} {text} {_unit_in_sentences(curve) if unit else ''}".rstrip()


def level(curve: Curve, value: float, /) -> str:
    """Write a value of the quality: "93.1 %" where it is a fraction, else the number itself."""
    text = amount(curve, scale(curve) * value)
    return f"{text} %" if curve.is_fraction else text


def amount(curve: Curve, value: float, /, *, other_than: float | None = None) -> str:
    """Write a value or a difference of the quality that is scaled already."""
    return decimals(value, other_than=other_than, rounding=math.inf if curve.is_fraction else _ROUNDING)


def at_chance(curve: Curve, reference: int, tolerance: float, /, *, rows: NDArray[np.int64] | None = None) -> str:
    """Say that a reference (a row) is not better than chance by more than a tolerance.

    rows: of its runs of which this is true, where that is not all of it: they are named by their seeds.
    """
    assert curve.quality is not None, "the chance of plain numbers is not known"
    runs = np.asarray(curve.runs[curve.quality_column], dtype=np.float64)
    values = runs[rows] if rows is not None else curve.values[[reference]]
    best = float(curve.sign * np.max(curve.sign * values))
    there, chance = level(curve, best), level(curve, curve.quality.chance)
    is_above = curve.sign * (best - curve.quality.chance) > 0
    what = f"hardly anything, {allowance(curve, tolerance)} or less" if is_above else "nothing"
    name = "the most accurate" if curve.base == "most accurate" else "the reference"
    if curve.has_several_references:
        name += f" of {curve.labels[reference]}"
    if rows is not None:
        seeds = sorted({str(curve.runs["seed"].iloc[row]) for row in rows})
        what += f" with {'seed' if len(seeds) == 1 else 'seeds'} {' and '.join(seeds)}"
    levels = f"{there}, as by chance" if there == chance else f"{there} where chance is {chance}"
    advice = "" if rows is None else ": leave it out" if len(rows) == 1 else ": leave them out"
    return f"{name} learned {what} ({levels}){advice}"


def decimals(value: float, /, *, other_than: float | None = None, rounding: float = math.inf) -> str:
    """Write a number with one decimal, or with as many more (up to 6) as it takes.

    other_than: a number from which the text is to tell it. rounding: by which share of the number the text may be off.

    >>> decimals(6.3213), decimals(2.04, other_than=2.0), decimals(0.0132, rounding=0.05)
    ('6.3', '2.04', '0.013')
    """
    texts = [f"{value:.{digits}f}" for digits in range(1, 7)]
    return next(
        (
            text
            for text in texts
            if (other_than is None or float(text) != round(other_than, 6))
            and (rounding == math.inf or abs(float(text) - value) <= rounding * abs(value))
        ),
        texts[-1],
    )


def share(ratio: float, /) -> str:
    """Write a ratio to two digits, or as many more as it takes not to write a saving as none.

    >>> share(0.4127), share(0.9962), share(0.0413)
    ('0.41×', '0.996×', '0.041×')
    """
    texts = [f"{ratio:.{digits}g}" for digits in range(2, 7)]
    return next((text for text in texts if ratio == 1 or float(text) != 1), texts[-1]) + "×"


def _unit_in_sentences(curve: Curve) -> str:
    """Return the unit of differences, or else of what they are: plain numbers say their column."""
    return difference_unit(curve) or (f"of {curve.quality_column}" if curve.quality is None else "")
