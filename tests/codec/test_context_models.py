"""What the context coder knows of a value, and that writer and reader know the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.codec import context_models as models

SEEDED = settings(deadline=None, derandomize=True, max_examples=40)


def coded(values, geometry, limits, data, *, decodes):
    fresh = models.fresh_models(geometry[0], geometry[1], geometry[3], max(-limits[0], limits[1]))
    return models.code_values(
        values, np.array(geometry, np.int64), np.array(limits, np.int64), data, 0, len(data), decodes, fresh
    )


geometries = st.sampled_from([(60, 1, 1, 1), (6, 10, 1, 1), (5, 12, 3, 6), (4, 18, 3, 9)])
all_limits = st.sampled_from([(0, 1), (-1, 1), (-7, 8), (-3, 0), (0, 255)])


@SEEDED
@given(geometries, all_limits, st.floats(0.05, 1), st.integers(0, 2**32 - 1))
def test_values_come_back_in_every_geometry(geometry, limits, density, seed):
    rng = np.random.default_rng(seed)
    n_values = geometry[0] * geometry[1]
    values = np.where(rng.random(n_values) < density, rng.integers(limits[0], limits[1] + 1, n_values), 0)
    data = np.zeros(1000, np.uint8)
    end = coded(values.copy(), geometry, limits, data, decodes=False)
    assert 0 < end <= len(data)
    again = np.zeros(n_values, np.int64)
    assert coded(again, geometry, limits, data[:end].copy(), decodes=True) == end
    assert np.array_equal(again, values)


def test_too_few_bytes_are_told():
    values = np.random.default_rng(0).integers(-7, 8, 600)
    assert coded(values.copy(), (6, 100, 1, 1), (-7, 7), np.zeros(50, np.uint8), decodes=False) == -1
    data = np.zeros(1000, np.uint8)
    end = coded(values.copy(), (6, 100, 1, 1), (-7, 7), data, decodes=False)
    assert coded(np.zeros(600, np.int64), (6, 100, 1, 1), (-7, 7), data[: end // 2].copy(), decodes=True) == -1


@pytest.mark.parametrize(
    ("share", "level"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 5), (8, 6), (11, 6), (12, 7), (10**6, 15)]
)
def test_levels_are_half_steps_of_the_logarithm(share, level):
    assert models.level(share) == level


def test_neighbours_outside_of_the_row_are_zero():
    values = np.arange(1, 13, dtype=np.int64)  # 3 rows of 4
    assert [models.near(values, 5, 1, offset) for offset in (1, 2)] == [5, 0]
    assert [models.above(values, 5, 1, 4, shift) for shift in (0, -1, 1, 2, 3)] == [2, 1, 3, 4, 0]
    assert models.above(values, 1, 1, 4, 0) == 0, "there is no row before the first"
    assert [models.sign_of(value) for value in (0, -3, 3)] == [0, 1, 2]


def test_the_pattern_of_a_kernel_is_the_line_above_and_the_planes_before():
    place = np.zeros(5, np.int64)
    place[models.LENGTH], place[models.ACROSS], place[models.PLANE] = 27, 3, 9
    place[models.COLUMN] = i = 22
    for offset, bit in ((1, 0), (2, 1), (3, 2), (4, 3), (6, 5), (9, 6), (18, 7)):
        values = np.zeros(27, np.int64)
        values[i - offset] = 1
        # To the right of the line above is what is two places before.
        assert models.row_pattern(values, i, place) == (1 << bit | (1 << 4 if offset == 2 else 0))
