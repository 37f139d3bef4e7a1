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
