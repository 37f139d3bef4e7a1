import numpy as np
import pytest

from effbench.analysis import answers
from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.details import calibration_error, worst_group
from effbench.analysis.uncertainty.detail_changes import CALIBRATION, detail_changes
from tests.analysis.conftest import runs_of

WORST = "accuracy_worst_class"
ROW = 1
"""Of a=1 on the curve."""


def measured(n_examples=600, *, seeds=(0, 1, 2), shares=((0.9, 0.8, 0.95), (0.85, 0.5, 0.95)), spread=0.0, rng=0):
    """Runs, with the counts, classes and confidences of their test examples; `shares` are right by class."""
    generator = np.random.default_rng(rng)
    group = np.arange(n_examples) % 3
    frame = runs_of([("reference", 100, 0.9), ("a=1", 50, 0.89), ("a=2", 20, 0.5)], seeds=seeds)
    correct, examples, columns = {}, {}, {name: [] for name in ("accuracy", WORST, CALIBRATION)}
    for key, label in zip(frame["run_key"], frame["point"], strict=True):
        own = np.array(shares[int(label != "reference")]) + generator.normal(0, spread)
        correct[key] = generator.random(n_examples) < own[group]
        confidence = generator.uniform(0.5, 1, n_examples).astype(np.float32)
        examples[key] = {"group": group, "confidence": confidence, "is_right": correct[key]}
        columns["accuracy"].append(correct[key].mean())
        columns[CALIBRATION].append(calibration_error(correct[key], confidence))
    counts = Counts.of_correct(correct)
    columns[WORST] = [worst_group(counts.by_run[key], group) for key in frame["run_key"]]
    return frame.assign(**columns), Counts(kind="ratio", by_run=counts.by_run, examples=examples)


def test_the_losses_are_those_of_the_logged_columns_and_lie_in_their_intervals():
    frame, counts = measured()
    on = curve_of(frame, cost="size_bytes")
    found = detail_changes(on, counts, ROW)
    assert list(found) == [WORST, CALIBRATION]
    means = frame.groupby("point")[[WORST, CALIBRATION]].mean()
    lost = means.loc["reference"] - means.loc["a=1"]
    assert (found[WORST].loss, found[CALIBRATION].loss) == pytest.approx((lost[WORST], -lost[CALIBRATION]))
    for change in found.values():
        assert change.interval[0] < change.loss < change.interval[1]
    assert found[WORST].interval[0] > 0, "a class that collapses is no chance"


def test_more_examples_make_them_narrower_and_seeds_that_differ_wider():
    def width(**options):
        frame, counts = measured(**options)
        low, high = detail_changes(curve_of(frame, cost="size_bytes"), counts, ROW)[WORST].interval
        return high - low

    assert width(n_examples=6000, seeds=(0,)) < 0.5 * width(n_examples=600, seeds=(0,))
    assert width(n_examples=6000, spread=0.05) > 2 * width(n_examples=6000, spread=0.0)


@pytest.mark.parametrize("column", [WORST, CALIBRATION])
@pytest.mark.parametrize("shares", [((0.9, 0.8, 0.95), (0.85, 0.5, 0.95)), ((0.9, 0.88, 0.91), (0.84, 0.85, 0.83))])
def test_the_interval_covers_what_is_measured_on_average(column, shares):
    """Of 60 data sets of the same two networks, whose classes are far apart, or close to each other."""
    found = []
    for rng in range(60):
        frame, counts = measured(300, seeds=(0,), rng=rng, shares=shares)
        found.append(detail_changes(curve_of(frame, cost="size_bytes"), counts, ROW, n_resamples=300)[column])
    expected = np.mean([change.loss for change in found])
    hits = sum(change.interval[0] <= expected <= change.interval[1] for change in found)
    assert hits >= 51  # 57 are expected: fewer than 51 once in some hundred seeds


def test_a_change_that_is_not_that_of_the_logged_column_is_none():
    """As where the task's own quality, such as a top-3 accuracy, is not what the column is of."""
    frame, counts = measured()
    own = {key: {**known, "is_right": ~known["is_right"]} for key, known in counts.examples.items()}
    other = Counts(kind="ratio", by_run=counts.by_run, examples=own)
    assert list(detail_changes(curve_of(frame, cost="size_bytes"), other, ROW)) == [WORST]
    wide = {
        key: np.concatenate([values, values], axis=0)[: len(values)] * [[[0, 1]]]
        for key, values in counts.by_run.items()
    }
    nothing_right = Counts(kind="ratio", by_run=wide, examples=counts.examples)
    assert list(detail_changes(curve_of(frame, cost="size_bytes"), nothing_right, ROW)) == [CALIBRATION]


def test_what_is_not_known_has_no_change():
    frame, counts = measured()
    on = curve_of(frame, cost="size_bytes")
    assert detail_changes(on, Counts(kind="ratio", by_run=counts.by_run), ROW) == {}
    only = {key: {"group": known["group"]} for key, known in counts.examples.items()}
    assert list(detail_changes(on, Counts(kind="ratio", by_run=counts.by_run, examples=only), ROW)) == [WORST]
    bare = curve_of(frame.drop(columns=[WORST]), cost="size_bytes")
    assert list(detail_changes(bare, counts, ROW)) == [CALIBRATION]
    odd = {key: {**known, "confidence": known["confidence"] * np.nan} for key, known in counts.examples.items()}
    assert list(detail_changes(on, Counts(kind="ratio", by_run=counts.by_run, examples=odd), ROW)) == [WORST]


def test_the_answer_says_them_beside_the_levels():
    frame, counts = measured(seeds=(0,))
    (answer,) = answers(frame, test_counts=counts)
    line = next(line for line in answer.details if line.startswith("at a=1"))
    change = answer.saturation.changes[WORST]
    said = f"loses {100 * change.loss:.1f} ± {50 * (change.interval[1] - change.interval[0]):.1f})"
    assert "worst class" in line and said in line
    assert ("rises by" if answer.saturation.changes[CALIBRATION].loss >= 0 else "falls by") in line.split(
        "calibration"
    )[1]
