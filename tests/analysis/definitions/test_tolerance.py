import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.definitions.tolerance import Tolerance, ToleranceBound, upper_bounds
from tests.analysis.conftest import runs_of


def curve(frame):
    return curve_of(frame, cost="size_bytes")


def chosen(frame, **options):
    """The outcome, with the labels of the row and of its rival."""
    on = curve(frame)
    choice = Tolerance(**options).choose(on)
    return choice.outcome, *(None if row is None else on.labels[row] for row in (choice.row, choice.rival))


def test_outcomes(runs):
    assert chosen(runs) == ("chosen", "prune=0.5", "prune=0.9")
    assert chosen(runs, tolerance=0.07) == ("not reached", "prune=0.9", None)
    assert chosen(runs.assign(accuracy_val=[0.5, 0.96, 0.9, 0.8])) == ("nothing", "reference", "prune=0.1")
    assert chosen(runs.iloc[:1]) == ("none", None, None)


@pytest.mark.parametrize("tolerance", [-0.01, np.nan, np.inf])
def test_a_tolerance_is_a_finite_number_of_at_least_0(runs, tolerance):
    with pytest.raises(ValueError, match="tolerance must be a finite number of at least 0"):
        Tolerance(tolerance=tolerance)


def test_problems_are_said(runs, lucky):
    assert Tolerance().choose(curve(runs.iloc[:0])).problem == "2 points are needed, there are 0"
    assert (
        Tolerance().choose(curve(runs.assign(size_bytes=[9, 1, 9, 8]))).problem
        == "no point is cheaper than the reference"
    )
    lost = Tolerance().choose(curve(lucky[~lucky["reference"]])).problem
    assert lost == "the reference is not among the runs: it failed, or was left out"


def two_references(first, second, *, chance=None):
    """Points of two recipes with (reference, point) accuracies; the second recipe's cost a little less."""
    parts = []
    for recipe, size, accuracies in (("a", 100, first), ("b", 99, second)):
        labels = (f"recipe={recipe}, reference", f"recipe={recipe}, prune=0.9")
        points = list(zip(labels, (size, size // 2), accuracies, strict=True))
        parts.append(runs_of(points, seeds=(0,), reference=labels[0]))
    frame = pd.concat(parts)
    if chance is not None:
        frame = frame.assign(
            quality_name="accuracy", quality_kind="ratio", quality_direction="higher", quality_chance=chance
        )
    return frame


def test_a_lucky_reference_judges_only_its_own_points():
    assert chosen(two_references([0.9, 0.89], [0.99, 0.89])) == ("chosen", "recipe=a, prune=0.9", "recipe=b, prune=0.9")
    assert chosen(two_references([0.9, 0.8], [0.99, 0.85])) == ("nothing", "recipe=a, reference", "recipe=a, prune=0.9")


def test_points_of_a_reference_that_learned_nothing_are_no_candidates():
    # Recipe b learned nothing, so that its point loses nothing.
    frame = two_references([0.9, 0.8], [0.1, 0.1], chance=0.1)
    assert chosen(frame) == ("nothing", "recipe=a, reference", "recipe=a, prune=0.9")
    assert chosen(two_references([0.9, 0.89], [0.1, 0.1], chance=0.1)) == ("not reached", "recipe=a, prune=0.9", None)
    dead = Tolerance().choose(curve(two_references([0.1, 0.1], [0.09, 0.1], chance=0.1)))
    assert dead.problem == "the reference of recipe=a, reference learned nothing (10.0 %, as by chance)"


def test_a_reference_is_no_rival():
    # The second reference is cheaper than the chosen point of the first, and loses nothing against itself.
    frame = two_references([0.9, 0.89], [0.9, 0.5]).assign(size_bytes=[100, 90, 80, 10])
    assert chosen(frame) == ("chosen", "recipe=a, prune=0.9", "recipe=b, prune=0.9")


LOSSES = st.lists(st.integers(0, 60), min_size=2, max_size=6)


@pytest.mark.extended
@settings(max_examples=60, deadline=None)
@given(LOSSES, st.sampled_from([0.0, 0.02, 0.05]), st.booleans())
def test_what_resamples_choose_is_what_the_curve_chooses(lost, tolerance, has_reference):
    accuracies = [0.95, *(0.95 - number / 1000 for number in lost)]
    points = [
        ("reference" if not number else f"a={number}", 100 - 5 * number, q) for number, q in enumerate(accuracies)
    ]
    frame = runs_of(points, seeds=(0,))
    if not has_reference:
        frame = frame.assign(reference_key=frame["run_key"], reference=True)
    on = curve(frame)
    method = Tolerance(tolerance=tolerance)
    choice = method.choose(on)
    assert method.rows(on, on.losses[None]).tolist() == [on.reference if choice.row is None else choice.row]
    worst = method.rows(on, np.where(np.arange(len(on)) == on.reference, 0, 1.0)[None])
    assert worst.tolist() == [on.reference]


@pytest.mark.extended
@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=3, max_size=3), st.integers(0, 100))
def test_the_order_of_rows_decides_nothing(accuracies, number):
    frame = pd.concat([two_references([0.9, accuracies[0] / 100], [accuracies[1] / 100, accuracies[2] / 100])])
    assert chosen(frame) == chosen(frame.sample(frac=1, random_state=number))


def spread(on, deviation, *, seed=0, n=2000):
    """Losses about those of a curve, with one normal deviation for every point but the references."""
    noise = np.random.default_rng(seed).normal(0, deviation, (n, len(on)))
    noise[:, np.unique(on.references)] = 0
    return on.losses + noise


def test_a_bound_leaves_room_for_what_is_not_known():
    on = curve(runs_of([("reference", 100, 0.96), ("a=1", 80, 0.955), ("a=2", 60, 0.945), ("a=3", 40, 0.9)]))
    plain, bound = Tolerance(), ToleranceBound()
    for deviation, expected in ((0.0, "a=2"), (0.002, "a=2"), (0.005, "a=1"), (0.02, "reference")):
        choice = bound.choose(on, spread(on, deviation))
        assert on.labels[choice.row] == expected, deviation
    assert on.labels[plain.choose(on).row] == "a=2"
    assert choice.outcome == "nothing" and on.labels[choice.rival] == "a=1"


@pytest.mark.extended
@settings(max_examples=40, deadline=None)
@given(LOSSES, st.floats(0, 0.03), st.integers(0, 100))
def test_a_bound_never_chooses_a_cheaper_point_than_the_tolerance(lost, deviation, seed):
    points = [("reference", 100, 0.95), *((f"a={n}", 95 - 5 * n, 0.95 - loss / 1000) for n, loss in enumerate(lost))]
    on = curve(runs_of(points, seeds=(0,)))
    drawn = spread(on, deviation, seed=seed, n=200)
    assert (upper_bounds(drawn) >= np.quantile(drawn, 0.5, axis=0)).all()
    sure, plain = ToleranceBound().choose(on, drawn), Tolerance().choose(on)
    ends = upper_bounds(drawn)
    if sure.outcome in ("chosen", "not reached"):
        assert ends[sure.row] <= 0.02 + 1e-9
    if (ends >= on.losses).all():
        assert on.costs[sure.row] >= on.costs[plain.row]
    # With the losses themselves for a resample, the choice is the choice.
    assert ToleranceBound().rows(on, np.vstack([drawn, on.losses]))[-1] in range(len(on))
