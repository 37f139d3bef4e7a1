"""The answer in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.correlation import correlation_sentences
from effbench.analysis.curves.columns import parse_numbers
from effbench.analysis.curves.costs import cost_words
from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.curve import Curve, control_curve
from effbench.analysis.curves.groups import select_group
from effbench.analysis.curves.labels import label_axes, short_label
from effbench.analysis.curves.pareto import front_rows
from effbench.analysis.curves.quality import Quality, secondary_columns
from effbench.analysis.curves.words import allowance, change, named, quality_word, share
from effbench.analysis.definitions.phrases import (
    cheapest_is_acceptable,
    loss_and_test,
    nothing_is_acceptable,
    nothing_is_sure,
    remarks,
    saving,
    what_next,
)
from effbench.analysis.definitions.reasons import bounds_of, found_by
from effbench.analysis.definitions.tolerance import Tolerance, ToleranceBound
from effbench.analysis.saturation import Found, Saturation, answer_of
from effbench.analysis.uncertainty.detail_changes import CALIBRATION, Change
from effbench.analysis.uncertainty.firmness import NONE


def saturation_sentence(
    frame: pd.DataFrame,
    *,
    cost: str,
    quality: str | None = None,
    method: str = "tolerance",
    counts: Counts | None = None,
    test_counts: Counts | None = None,
    model: str | None = None,
    **options: Any,
) -> str:
    """Say where compression stops being free on one cost, in one sentence.

    Parameters and errors: as for `saturation_point`. The plain name, "accuracy", is the validation's, on which points
    are chosen; quality="accuracy" is called "test accuracy". What the chosen point loses is said of both, of test with
    half the width of its 95 % interval. "Points" are percentage points. What stands after "95 %" are the savings of 95
    % of the choices on other examples, and with other seeds where it says how many; "unstable" where no point is chosen
    in half of them. A point in brackets "(2 of 3 seeds)" was compared with its reference on those that did not fail.

    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5", "prune=0.9"], "size_bytes": [400, 164, 60],
    ...      "accuracy_val": [0.960, 0.952, 0.897], "accuracy": [0.950, 0.955, 0.9]})
    >>> print(saturation_sentence(runs, cost="size_bytes"))
    size_bytes: prune=0.5 keeps accuracy within 2 points (loses 0.8; test: gains 0.5) at 0.41× the bytes; 0.9 loses 6.3
    >>> print(saturation_sentence(runs, cost="size_bytes", tolerance=0.001))
    size_bytes: nothing cheaper than the reference stays within 0.1 points: already prune=0.5 loses 0.8 points
    >>> print(saturation_sentence(runs, cost="size_bytes", tolerance=0.1))
    size_bytes: not reached: the cheapest, prune=0.9, at 0.15× the bytes, loses 6.3 points (test: loses 5.0): still \
within 10; sweep further
    """
    answer = answer_of(
        frame,
        cost=cost,
        quality=quality,
        method=method,
        counts=counts,
        test_counts=test_counts,
        model=model,
        **options,
    )
    return sentence_of(answer)


def sentence_of(answer: Found, /) -> str:
    """Return the sentence of an answer, as `saturation_sentence` does."""
    curve, choice, method = answer.curve, answer.choice, answer.method
    if choice.row is None:
        text = choice.problem
    elif isinstance(method, Tolerance):
        text = _within(answer, choice.row, method)
    else:
        losses = loss_and_test(curve, choice.row, test=answer.saturation.test_loss_interval)
        at = "" if choice.outcome == "nothing" else f" ({losses}), {saving(curve, choice.row)}"
        further = what_next(curve, choice.row) if choice.outcome == "not reached" else ""
        found = found_by(curve, choice, method).removesuffix(further)
        text = f"{found}{at}{_firmness(answer, choice.row)}{further}"
    subject = f"{curve.cost} (no reference)" if curve.base == "most accurate" and len(curve) > 1 else curve.cost
    return "; ".join([f"{subject}: {text}", *remarks(curve, choice)])


def _within(answer: Found, row: int, method: Tolerance) -> str:
    """Write what an answer by a tolerance says of its row."""
    curve, rival, tolerance = answer.curve, answer.choice.rival, method.tolerance
    is_bound, test = isinstance(method, ToleranceBound), answer.saturation.test_loss_interval
    firmness, (most, of_rival) = _firmness(answer, row), _bounds(answer)
    if answer.choice.outcome == "not reached":
        return cheapest_is_acceptable(curve, row, tolerance, firmness=firmness, most=most, interval=test)
    if answer.choice.outcome == "nothing" or (curve.base == "most accurate" and row == curve.reference):
        if is_bound:
            return nothing_is_sure(curve, rival, tolerance, most=of_rival, firmness=firmness)
        return nothing_is_acceptable(curve, rival, tolerance, firmness=firmness)
    is_sure = is_bound and answer.firmness is not None and " only, " not in answer.firmness.covers
    within = f"{'surely ' * is_sure}keeps {quality_word(curve)} within {allowance(curve, tolerance)}"
    losses, at = f"({loss_and_test(curve, row, most=most, test=test)})", f"{saving(curve, row)}{firmness}"
    if curve.base == "most accurate":
        at = f"{saving(curve, row).replace(' the ', ' its ', 1)}{firmness}"
        text = f"{named(curve, row)} {within} of the most accurate, {named(curve, curve.reference)} {losses}, {at}"
    else:
        of = " of its reference" if curve.has_several_references else ""
        text = f"{named(curve, row)} {within}{of} {losses} {at}"
    if rival is None:
        return f"{text}; nothing is cheaper"
    rejected = short_label(named(curve, rival), after=curve.labels[row])
    if is_bound:
        return f"{text}; {rejected} {change(curve, rival, unit=False)}, perhaps {of_rival}"
    return f"{text}; {rejected} {change(curve, rival, beyond=tolerance, unit=False)}"


def _bounds(answer: Found) -> tuple[str, str]:
    """Write the largest losses to be expected of the row and of its rival, where the method looks at them."""
    if not isinstance(answer.method, ToleranceBound) or answer.drawn is None:
        return "", ""
    return bounds_of(answer.curve, answer.choice, answer.drawn)


def _firmness(answer: Found, row: int) -> str:
    """Write the interval of the cost that is chosen, as shares of the reference's, and what was drawn anew for it."""
    curve, firmness = answer.curve, answer.firmness
    reference_cost = float(curve.costs[curve.references[row]])
    if firmness is None or reference_cost <= 0:
        return ""
    if firmness.interval is None:
        return f" (unstable: {firmness.covers}, {100 * firmness.shares[NONE]:.0f} % of the choices find no point)"
    low, high = (share(cost / reference_cost) for cost in firmness.interval)
    unstable = "" if firmness.is_stable else "; unstable: no point is chosen in half of them"
    costs = low if low == high else f"{low} to {high}"
    return f" (95 %, {firmness.covers}: {costs}{unstable})"


def detail_sentences(
    frame: pd.DataFrame,
    *,
    cost: str,
    quality: str | None = None,
    method: str = "tolerance",
    counts: Counts | None = None,
    test_counts: Counts | None = None,
    model: str | None = None,
    **options: Any,
) -> list[str]:
    """Say what else is known of the answer on one cost: some lines.

    Parameters and errors: as for `saturation_sentence`. First, on the test split, what
    else became of the quality at the saturation point, with the reference's in brackets. What the frame does not have
    (of `secondary_columns`) is not mentioned. There is no such line without a saturation point, or where it is the
    reference. Then what named controls lose: uncompressed networks with an axis that moves no cost. Where nothing has a
    reference, the front, and how far times follow what is counted (`rank_correlations`).

    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5", "prune=0.9"], "size_bytes": [400, 164, 60],
    ...      "accuracy_val": [0.960, 0.952, 0.897], "calibration_error": [0.008, 0.012, 0.05],
    ...      "accuracy_worst_class": [0.95, 0.912, 0.7]})
    >>> detail_sentences(runs, cost="size_bytes")
    ['at prune=0.5: worst class 91.2 % (reference 95.0 %), calibration error 1.2 points (0.8)']
    """
    answer = answer_of(
        frame,
        cost=cost,
        quality=quality,
        method=method,
        counts=counts,
        test_counts=test_counts,
        model=model,
        **options,
    )
    return details_of(select_group(frame, model=model), answer)


def details_of(runs: pd.DataFrame, answer: Found, /) -> list[str]:
    """Return what else is known of an answer on runs of one group, as `detail_sentences` does."""
    curve, choice = answer.curve, answer.choice
    lines = []
    if choice.outcome == "chosen" and choice.row is not None and choice.row != curve.reference:
        lines += _secondary(runs, curve, choice.row, answer.saturation)
    lines += _controls(control_curve(runs, cost=curve.cost, quality=curve.quality_column))
    if curve.base == "most accurate" and len(curve) > 1:
        front = ", ".join(curve.labels[row] for row in front_rows(curve))
        lines.append(f"on the front of {cost_words(curve.cost).title}, from the cheapest: {front}")
        lines += correlation_sentences(runs)
    return lines


def _secondary(runs: pd.DataFrame, curve: Curve, row: int, saturation: Saturation) -> list[str]:
    """Write what else is known of a point's quality and its reference's, on the seeds of both: one line or none."""
    details: list[str] = []
    for column, title in secondary_columns(runs, Quality.of_frame(runs)).items():
        if parse_numbers(curve.runs[column]) is None:
            continue
        pair = np.array([values[row] for values in curve.means_of(column)])
        if not np.isfinite(pair).all():
            continue
        there, reference = _level_and_reference(column, pair)
        name = "most accurate" if curve.base == "most accurate" else "reference"
        beside = reference if details else f"{name} {reference}"
        details.append(f"{title} {there} ({beside}{_change_there(column, saturation.changes.get(column))})")
    if saturation.flips is not None:
        wrong, right = (f"{100 * part:.1f} %" for part in saturation.flips)
        details.append(f"{wrong} of the test examples newly wrong, {right} newly right")
    return [f"at {named(curve, row)}: {', '.join(details)}"] if details else []


def _change_there(column: str, change: Change | None) -> str:
    """Write what a share loses, or by how much an error rises, with half its interval's width: "; loses 1.0 ± 2.1"."""
    if change is None:
        return ""
    low, high = change.interval
    verbs = ("rises by", "falls by") if column == CALIBRATION else ("loses", "gains")
    verb = verbs[change.loss < 0]
    return f"; {verb} {100 * abs(change.loss):.1f} ± {50 * (high - low):.1f}"


def _level_and_reference(column: str, pair: NDArray[np.float64]) -> tuple[str, str]:
    """Write a secondary quality at a point and at its reference, (2,): a share in percent, an error in points."""
    if not ((pair >= 0) & (pair <= 1)).all():
        return f"{pair[0]:.4g}", f"{pair[1]:.4g}"
    there, reference = (f"{100 * value:.1f}" for value in pair)
    return (f"{there} points", reference) if column == CALIBRATION else (f"{there} %", f"{reference} %")


def _controls(curve: Curve | None) -> list[str]:
    """Write what the named controls lose: "with distill alone, uncompressed: gains 0.4 points"; one line or none."""
    if curve is None:
        return []
    rows = sorted(
        (row for row in range(len(curve)) if row not in set(curve.references)), key=lambda row: curve.labels[row]
    )
    if len(rows) == 1:
        (row,) = rows
        axes = " and ".join(label_axes(curve.labels[row])) or curve.labels[row]
        seeds = named(curve, row).removeprefix(curve.labels[row])
        return [f"with {axes} alone{seeds}, uncompressed: {change(curve, row)}"]
    told = [f"{named(curve, row)} {change(curve, row, unit=False)}" for row in rows]
    return [f"alone, uncompressed: {', '.join(told)}"] if told else []
