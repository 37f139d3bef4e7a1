import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.analysis.curves.counts import Counts
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.uncertainty.flips import flips_of
from tests.analysis.conftest import runs_of


def frame_and_counts(reference, point):
    """Runs of a seed for each row of two (n_seeds, n_examples) arrays of what is right."""
    seeds = range(len(reference))
    frame = runs_of([("reference", 100, reference.mean(1).tolist()), ("a=1", 50, point.mean(1).tolist())], seeds=seeds)
    correct = {f"reference/{seed}": reference[seed] for seed in seeds} | {f"a=1/{seed}": point[seed] for seed in seeds}
    return frame, Counts.of_correct(correct)


def test_examples_change_sides():
    reference = np.array([[True, True, True, False]])
    frame, counts = frame_and_counts(reference, np.array([[True, False, False, True]]))
    assert flips_of(curve_of(frame, cost="size_bytes"), counts, 0) == (0.5, 0.25)
    assert flips_of(curve_of(frame, cost="size_bytes"), counts, 1) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3))
def test_their_difference_is_the_loss(seed, n_seeds):
    generator = np.random.default_rng(seed)
    frame, counts = frame_and_counts(*(generator.random((n_seeds, 30)) < 0.8 for _ in range(2)))
    curve = curve_of(frame, cost="size_bytes")
    wrong, right = flips_of(curve, counts, 0)
    assert wrong - right == pytest.approx(curve.losses[0])


def test_what_is_not_right_or_wrong_has_none():
    frame, counts = frame_and_counts(np.ones((1, 4), dtype=bool), np.ones((1, 4), dtype=bool))
    curve = curve_of(frame, cost="size_bytes")
    weighted = Counts(kind="ratio", by_run={key: 2 * values for key, values in counts.by_run.items()})
    assert flips_of(curve, weighted, 0) is None
    tokens = Counts(kind="exp_of_ratio", by_run=counts.by_run)
    assert flips_of(curve, tokens, 0) is None
    bare = curve_of(frame.drop(columns=["seed", "reference_key"]), cost="size_bytes")
    assert flips_of(bare, counts, 0) is None
