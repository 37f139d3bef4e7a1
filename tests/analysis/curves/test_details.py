import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.analysis.curves.details import calibration_error, worst_group


def counts_of(correct):
    return np.stack([correct, np.ones_like(correct)], axis=-1)[:, None]


class TestWorstGroup:
    @given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30))
    def test_is_the_lowest_share_of_any_group(self, examples):
        group, correct = (np.array(column, dtype=int) for column in zip(*examples, strict=True))
        shares = [np.mean([is_correct for label, is_correct in examples if label == other]) for other in set(group)]
        assert worst_group(counts_of(correct), group) == pytest.approx(min(shares))
        assert worst_group(counts_of(correct), group, lower_is_better=True) == pytest.approx(max(shares))

    def test_groups_without_examples_are_no_groups(self):
        assert worst_group(counts_of(np.array([1, 1, 0])), np.array([2, 2, 9])) == 0
        assert worst_group(counts_of(np.array([1, 1])), np.array([2, 9])) == 1

    @pytest.mark.parametrize(("n_counts", "n_groups"), [(0, 0), (2, 3)])
    def test_other_shapes_are_refused(self, n_counts, n_groups):
        with pytest.raises(ValueError, match=r"counts must be \(n, 1, 2\) and group \(n,\) of n > 0"):
            worst_group(counts_of(np.zeros(n_counts, dtype=int)), np.zeros(n_groups, dtype=int))


class TestCalibrationError:
    def test_by_hand(self):
        # Two bins: (0, ½] with accuracy 1 at a confidence of 0.4; (½, 1] with ½ at 0.9.
        correct, confidence = np.array([True, True, False]), np.array([0.4, 0.8, 1.0])
        assert calibration_error(correct, confidence, n_bins=2) == pytest.approx(1 / 3 * 0.6 + 2 / 3 * 0.4)

    def test_a_confidence_on_an_edge_is_in_the_lower_bin(self):
        # In one bin the two would cancel out.
        correct, confidence = np.array([True, False]), np.array([0.5, 0.5 + 1e-9])
        assert calibration_error(correct, confidence, n_bins=2) == pytest.approx(0.5)
        assert calibration_error(correct, confidence, n_bins=1) == pytest.approx(0, abs=1e-8)

    def test_confidence_that_is_earned_costs_nothing(self):
        rng = np.random.default_rng(0)
        confidence = rng.uniform(0.1, 1, 200_000)
        correct = rng.random(200_000) < confidence
        assert calibration_error(correct, confidence) < 0.01
        assert calibration_error(correct, np.minimum(1, confidence + 0.2)) > 0.1

    @given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=30), st.integers(1, 20))
    def test_lies_between_0_and_1_and_not_below_the_overall_gap(self, examples, n_bins):
        correct, confidence = (np.array(column) for column in zip(*examples, strict=True))
        error = calibration_error(correct, confidence, n_bins=n_bins)
        assert abs(correct.mean() - confidence.mean()) - 1e-9 <= error <= 1 + 1e-9

    def test_an_unknown_confidence_has_no_error(self):
        assert math.isnan(calibration_error(np.array([True, False]), np.array([0.5, np.nan])))

    @pytest.mark.parametrize(
        ("confidence", "words"),
        [([0.5], r"must be \(n,\) of n > 0"), ([0.5, 1.5], r"in \[0, 1\], got 0.5 to 1.5"), ([-0.1, 0.5], "got -0.1")],
    )
    def test_what_is_no_confidence_is_refused(self, confidence, words):
        with pytest.raises(ValueError, match=words):
            calibration_error(np.array([True, False]), np.array(confidence))
