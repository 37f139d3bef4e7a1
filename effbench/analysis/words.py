"""Numbers as they are said: percentage points, losses, shares."""

from __future__ import annotations

from effbench.analysis.curve import Curve


def quality_word(quality: str, /) -> str:
    """Return a quality as sentences call it: "accuracy" is the validation's, on which points are chosen."""
    return {"accuracy_val": "accuracy", "accuracy": "test accuracy"}.get(quality, quality)


def allowance(curve: Curve, tolerance: float, /) -> str:
    """Write a tolerance: "2 points" where the quality is a fraction, else the number itself."""
    if not curve.is_fraction:
        return f"{tolerance:g} of {curve.quality}"
    return f"{100 * tolerance:g} point" + ("" if f"{100 * tolerance:g}" == "1" else "s")


def change(curve: Curve, row: int, /, *, beyond: float | None = None, unit: bool = True) -> str:
    """Write what a point loses or gains against the reference: "loses 6.3 points", or without the unit "loses 6.3".

    beyond: a tolerance that the loss exceeds; as many decimals are written as it takes to see that.
    """
    scale = 100.0 if curve.is_fraction else 1.0
    loss = scale * float(curve.losses[row])
    text = decimals(abs(loss), other_than=None if beyond is None else scale * beyond)
    suffix = (" points" if curve.is_fraction else f" of {curve.quality}") if unit else ""
    return f"{'gains' if loss < 0 else 'loses'} {text}{suffix}"


def decimals(value: float, /, *, other_than: float | None = None) -> str:
    """Write a number with one decimal, or with as many more (up to 6) as tell it from `other_than`.

    >>> decimals(6.3213), decimals(2.04, other_than=2.0)
    ('6.3', '2.04')
    """
    texts = [f"{value:.{digits}f}" for digits in range(1, 7)]
    return next((text for text in texts if other_than is None or float(text) != round(other_than, 6)), texts[-1])


def share(ratio: float, /) -> str:
    """Write a ratio to two digits, or as many more as it takes not to write a saving as none.

    >>> share(0.4127), share(0.9962), share(0.0413)
    ('0.41×', '0.996×', '0.041×')
    """
    texts = [f"{ratio:.{digits}g}" for digits in range(2, 7)]
    return next((text for text in texts if ratio == 1 or float(text) != 1), texts[-1]) + "×"


def quality_title(quality: str, /) -> str:
    """Return a quality as a figure's axis calls it."""
    return {"accuracy_val": "validation accuracy", "accuracy": "test accuracy"}.get(quality, quality)
