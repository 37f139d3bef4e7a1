from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from effbench.analysis import Counts, quality_from_sums

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 5), st.just(2))
TABLES = SHAPES.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 50)))
BITS = st.lists(st.booleans(), min_size=1, max_size=300)


@given(BITS)
def test_an_accuracy_is_correct_divided_by_seen_to_the_bit(bits):
    counts = Counts.of_correct({"key": np.array(bits)})
    assert (counts.kind, counts.by_run["key"].shape) == ("ratio", (len(bits), 1, 2))
    assert counts.quality_of("key") == sum(bits) / len(bits)


@given(TABLES)
def test_a_mean_of_ratios_leaves_out_what_has_no_denominator(table):
    sums = table.sum(0)
    ratios = [Fraction(int(n), int(d)) for n, d in sums if d > 0]
    quality = float(quality_from_sums(sums, "mean_of_ratios"))
    if ratios:
        assert quality == pytest.approx(float(sum(ratios) / len(ratios)), abs=1e-12)
        with_another = np.concatenate([sums, [[0, 0]]])
        assert float(quality_from_sums(with_another, "mean_of_ratios")) == pytest.approx(quality, abs=1e-15)
    else:
        assert np.isnan(quality)


@given(TABLES)
def test_the_quality_of_a_run_is_that_of_its_sums_in_whatever_order(table):
    counts = Counts(kind="mean_of_ratios", by_run={"a": table, "b": table[::-1], "c": table.astype(np.float32)})
    expected = float(quality_from_sums(table.sum(0), "mean_of_ratios"))
    assert np.array_equal([counts.quality_of(key) for key in "abc"], [expected] * 3, equal_nan=True)


@given(st.floats(-5, 5), st.floats(0.5, 100))
def test_an_exponential_of_a_ratio(mean, denominator):
    assert float(quality_from_sums([[mean * denominator, denominator]], "exp_of_ratio")) == pytest.approx(np.exp(mean))


def test_qualities_keep_the_leading_axes():
    sums = np.arange(1, 25).reshape(2, 3, 2, 2)
    assert quality_from_sums(sums, "mean_of_ratios").shape == (2, 3)
    assert quality_from_sums(sums[..., :1, :], "ratio")[1, 2] == 21 / 22


def test_what_has_no_denominator_or_no_end():
    assert np.isnan(quality_from_sums([[0, 0]], "ratio"))
    assert np.isnan(quality_from_sums([[0, 0]], "exp_of_ratio"))
    assert quality_from_sums([[1e6, 1]], "exp_of_ratio") == np.inf


def test_small_integers_do_not_overflow():
    counts = Counts.of_correct({"key": np.ones(1000, dtype=bool)})
    assert counts.by_run["key"].dtype == np.uint8
    assert counts.quality_of("key") == 1.0


@pytest.mark.parametrize(
    ("sums", "kind", "message"),
    [
        ([[1, 2], [1, 2]], "ratio", r"sums have the shape \(2, 2\): \(..., 1, 2\) is needed for kind 'ratio'"),
        ([[1, 2], [1, 2]], "exp_of_ratio", r"\(..., 1, 2\) is needed"),
        ([1, 2], "mean_of_ratios", r"the shape \(2,\): \(..., n_ratios, 2\) is needed"),
        ([[1, 2, 3]], "ratio", "is needed"),
        ([[1, 2]], "median", "kind='median': ratio, mean_of_ratios, exp_of_ratio are the kinds"),
    ],
)
def test_sums_that_do_not_fit_are_refused(sums, kind, message):
    with pytest.raises(ValueError, match=message):
        quality_from_sums(sums, kind)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.ones((4, 2)), r"run 3f: its counts have the shape \(4, 2\): \(n_examples, 1, 2\), not empty"),
        (np.ones((4, 2, 2)), "is needed for kind 'ratio'"),
        (np.ones((4, 1, 3)), "is needed for kind 'ratio'"),
        (np.ones((0, 1, 2)), "not empty"),
        (np.array([[[1, np.nan]]]), "run 3f: the denominator 0 of example 0 is nan: finite numbers are needed"),
        (np.array([[[1, 1]], [[1, -2]]]), "the denominator 0 of example 1 is -2: .* no denominator below 0"),
        (np.array([[[np.inf, 1.0]]]), "the numerator 0 of example 0 is inf"),
        (np.array([[["1", "2"]]]), "its counts have the dtype <U1: real numbers are needed"),
    ],
)
def test_counts_that_are_none_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        Counts(kind="ratio", by_run={"3f": counts})


def test_negative_numerators_are_counts_too():
    assert Counts(kind="ratio", by_run={"3f": np.array([[[-3, 4]]])}).quality_of("3f") == -0.75


def test_unknown_kinds_and_what_is_not_correctness_are_refused():
    with pytest.raises(ValueError, match="kind='median'"):
        Counts(kind="median", by_run={})
    with pytest.raises(ValueError, match=r"run 3f: which examples were right has the shape \(2,\) and the dtype int64"):
        Counts.of_correct({"3f": np.array([0, 1])})
