import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.models.arguments import require_positive_integers, require_width, scaled_width


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None])
def test_what_is_no_positive_integer_is_named(value):
    require_positive_integers(kernel=1, num_classes=10)
    with pytest.raises(ValueError, match=f"^kernel must be an integer of at least 1, got {value!r}$"):
        require_positive_integers(num_classes=10, kernel=value)


@pytest.mark.parametrize("value", [0, -0.5, float("nan"), float("inf"), True, "1"])
def test_what_is_no_width_is_named(value):
    for width in (1, 0.01, 64.0):
        require_width(width)
    with pytest.raises(ValueError, match=f"^scale must be a finite number above 0 .*, got {value!r}$"):
        require_width(value, name="scale")


@given(st.integers(1, 4096), st.floats(1e-6, 64))
def test_a_scaled_width_is_the_nearest_and_at_least_1(channels, alpha):
    width = scaled_width(channels, alpha)
    assert width == 1 or abs(width - alpha * channels) <= 0.5
    assert width >= 1
    assert width >= math.floor(alpha * channels)


def test_halves_are_rounded_up():
    assert [scaled_width(channels, 0.5) for channels in (1, 3, 5, 8)] == [1, 2, 3, 4]
