import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.uncertainty.seed_noise import SeedNoise, shared_share
from tests.analysis.conftest import runs_of

N = 20_000


def noise(n_seeds):
    frame = runs_of([("reference", 100, 0.9), ("a=1", 50, 0.8)], seeds=range(n_seeds))
    return SeedNoise(curve_of(frame, cost="size_bytes"), "accuracy_val", n_resamples=N, seed=0)


@pytest.mark.parametrize(("n_seeds", "quantile"), [(2, 12.706), (3, 4.303), (4, 3.182), (10, 2.262)])
def test_a_mean_moves_by_students_t(n_seeds, quantile):
    losses = np.linspace(0.01, 0.05, n_seeds)
    rows = np.arange(n_seeds)
    drawn = noise(n_seeds).moved(np.repeat(losses[None], N, axis=0), losses, rows, rows)
    error = losses.std(ddof=1) / np.sqrt(n_seeds)
    low, high = (np.quantile(drawn, [0.025, 0.975]) - losses.mean()) / error
    assert (-low, high) == pytest.approx((quantile, quantile), rel=0.08)


def test_one_seed_moves_with_the_examples_alone():
    drawn = np.random.default_rng(0).normal(size=(N, 1))
    rows = np.arange(1)
    assert np.array_equal(noise(1).moved(drawn, np.array([0.5]), rows, rows), drawn[:, 0])


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.floats(0, 2), st.floats(0.01, 2), st.integers(0, 1000))
def test_what_seeds_do_not_share_is_taken_out(n_seeds, common, own, seed):
    generator = np.random.default_rng(seed)
    drawn = common * generator.normal(size=(4000, 1)) + own * generator.normal(size=(4000, n_seeds))
    expected = np.sqrt(common**2 / (common**2 + own**2 / n_seeds))
    assert 0 <= shared_share(drawn) <= 1
    assert shared_share(drawn) ** 2 == pytest.approx(expected**2, abs=0.08)


def test_what_does_not_vary_or_is_not_finite_is_no_trouble():
    assert shared_share(np.zeros((10, 3))) == 1
    assert shared_share(np.full((10, 3), np.inf)) == 1
    drawn = np.random.default_rng(0).normal(size=(100, 1)).repeat(2, axis=1)
    drawn[3, 1] = np.inf
    assert shared_share(drawn) == pytest.approx(1)


def test_a_point_with_one_seed_left_varies_as_the_others_do():
    # It would have the narrowest interval of all otherwise: that of its examples alone.
    points = [("reference", 100, 0.9), ("a=1", 50, [0.88, 0.89, 0.87]), ("a=2", 20, [0.89, None, None])]
    curve = curve_of(runs_of(points), cost="size_bytes")
    noise = SeedNoise(curve, "accuracy_val", n_resamples=N, seed=0)
    row = np.arange(1)
    alone = noise.moved(np.full((N, 1), 0.01), np.array([0.01]), row, row)
    low, high = np.quantile(alone, [0.025, 0.975]) - 0.01
    assert (-low, high) == pytest.approx((4.303 * 0.01, 4.303 * 0.01), rel=0.08)
