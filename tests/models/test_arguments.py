import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.models.arguments import (
    hidden_widths,
    require_choice,
    require_flags,
    require_positive_integers,
    require_width,
    scaled_width,
)


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


def test_what_is_no_flag_and_no_choice_is_named():
    require_flags(shuffle=True, shortcut=False)
    require_choice("gap", ("gap", "conv"), name="head")
    with pytest.raises(ValueError, match=r"^shortcut must be true or false, got 1$"):
        require_flags(shuffle=True, shortcut=1)
    with pytest.raises(ValueError, match=r"^head must be one of gap, conv, got 'max'$"):
        require_choice("max", ("gap", "conv"), name="head")


@pytest.mark.parametrize(
    ("hidden", "n_layers", "widths"),
    [
        (50, None, (50,)),
        ("50", 1, (50,)),
        (50, 2, (50, 50)),
        ("50", 3, (50, 50, 50)),
        ("300-100", None, (300, 100)),
        ([300, 100], 2, (300, 100)),
    ],
)
def test_hidden_widths(hidden, n_layers, widths):
    assert hidden_widths(hidden, n_layers=n_layers) == widths


@pytest.mark.parametrize("hidden", [0, -1, True, "", "300-", "a", 1.5, [], [300, 0], [True]])
def test_what_is_no_hidden_width_is_named(hidden):
    with pytest.raises(ValueError, match="hidden must be a width of at least 1"):
        hidden_widths(hidden)


@pytest.mark.parametrize(("hidden", "n_layers", "words"), [("3-2", 1, "1 hidden layer,"), ("4-3-2", 2, "2 hidden la")])
def test_another_number_of_hidden_widths_is_named(hidden, n_layers, words):
    with pytest.raises(ValueError, match=f"hidden={hidden}: the network has {words}"):
        hidden_widths(hidden, n_layers=n_layers)
