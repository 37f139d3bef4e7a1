import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.codec import row_prediction

SEEDED = settings(deadline=None, derandomize=True, max_examples=40)


def errors_along(row, past):
    """Return the error at each column, in whole steps, of a row whose rows before are `past`, (n_columns, n_rows)."""
    taps = np.zeros(row_prediction.N_TAPS, np.int32)
    found = []
    for column, value in enumerate(row):
        guess = row_prediction.expected(taps, past[column], past.shape[1])
        found.append(value - guess / row_prediction.ONE)
        energy = int((past[column].astype(np.int64) ** 2).sum())
        error = int(value) * row_prediction.ONE - guess
        row_prediction.learn(taps, past[column], past.shape[1], error, energy, column)
    return np.array(found)


def test_a_row_that_is_the_sum_of_two_before_it_is_learned():
    rng = np.random.default_rng(0)
    past = rng.integers(-20, 21, (1000, 30)).astype(np.int16)
    found = errors_along(past[:, 3] + past[:, 17], past)
    assert np.abs(found[-200:]).mean() < 0.1 * np.abs(found[:50]).mean()


def test_noise_costs_a_quarter_of_its_energy_at_most():
    """In theory 0.6 / (2 - 0.6) of it while the steps are largest."""
    rng = np.random.default_rng(0)
    past, row = rng.integers(-20, 21, (1000, 30)).astype(np.int16), rng.integers(-20, 21, 1000)
    assert (errors_along(row, past) ** 2).mean() < 1.25 * (row.astype(float) ** 2).mean()


@SEEDED
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1, 255]))
def test_it_stays_in_bounds_whatever_comes(seed, n_rows, largest):
    rng = np.random.default_rng(seed)
    past = rng.choice([-largest, 0, largest], (300, n_rows)).astype(np.int16)
    found = errors_along(rng.choice([-largest, 0, largest], 300), past)
    assert np.abs(found).max() <= largest + 4095 / row_prediction.ONE
