import numpy as np
import pytest

from effbench.codec.arrangement import Arrangement


@pytest.mark.parametrize(
    ("shape", "side", "fits"),
    [
        ((10, 784), 28, True),
        ((10, 784), 14, True),
        ((10, 784), 27, False),
        ((10, 784), 29, False),
        ((10, 784), 0, True),
        ((4, 16, 7, 7), 7, False),
        ((50,), 5, False),
    ],
)
def test_sides_that_a_row_can_have(shape, side, fits):
    assert Arrangement.of(shape, int(np.prod(shape))).is_side(side) is fits


def test_a_tensors_shape_says_what_is_beside_what():
    assert Arrangement.of((4, 6), 24) == Arrangement(n_rows=4, length=6, may_be_images=True)
    assert Arrangement.of((4, 3, 5, 2), 120) == Arrangement(n_rows=4, length=30, width=2, plane=10)
    for shape, n_values in (((24,), 24), ((), 1), ((4, 6), 48), ((0, 6), 0)):  # 48: a complex tensor
        assert Arrangement.of(shape, n_values) == Arrangement.line(n_values)
    assert Arrangement.line(24).n_values == 24


def test_rows_of_images_have_lines_and_planes():
    rows = Arrangement.of((10, 147), 1470)
    assert rows.with_side(7) == Arrangement(n_rows=10, length=147, width=7, plane=49, may_be_images=True)
    assert rows.with_side(0) is rows


@pytest.mark.parametrize(("n_values", "n_rows"), [(1, 1), (100, 1), (101, 2), (10_000, 10)])
def test_the_first_rows_have_at_least_so_many_values(n_values, n_rows):
    assert Arrangement(n_rows=10, length=100).first(n_values).n_rows == n_rows


def test_the_likeliest_side_is_that_of_the_images():
    rng = np.random.default_rng(0)
    images = np.cumsum(rng.normal(size=(50, 3, 12, 12)), axis=2)  # each line is like the one above
    arrangement = Arrangement.of((50, 432), 50 * 432)
    sides = arrangement.likely_sides(np.round(images).astype(np.int64).reshape(-1))
    assert (sides[0], sides[-1]) == (12, 0)
    assert all(arrangement.is_side(side) for side in sides)
    assert Arrangement.of((50, 9), 450).likely_sides(np.zeros(450, np.int64)) == [0], "too few columns to tell"
