"""The next value to try: on every scale, of every monotone curve, from any grid; and where there is none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.config.members import declared_axes
from effbench.config.refining import scale_of
from effbench.plan.bisection import CLOSE, Scale, next_value

NAMES = (
    "prune",
    "alpha",
    "rho",
    "rank",
    "tokens",
    "out_rho",
    "octave",
    "prune_channels",
    "prune_heads",
    "prune_blocks",
)
GEOMETRIC = ("bits", "share", "rate", "bits_budget")


@pytest.fixture(scope="module")
def scales():
    axes = declared_axes()
    return {name: scale_of(axes[name]) for name in (*NAMES, *GEOMETRIC)}


def search(scale, grid, threshold, n):
    """Return all that is known after up to n values more: acceptable is what compresses no more than the threshold."""

    def verdict(value):
        return scale.strength(value) <= scale.strength(threshold)

    known = {value: verdict(value) for value in grid}
    for _ in range(n):
        value = next_value(scale, known)
        if value is None:
            break
        assert value not in known
        known[value] = verdict(value)
    return known


def bracket(scale, known):
    good = max([v for v, ok in known.items() if ok], key=scale.strength, default=scale.weakest)
    bad = min([v for v, ok in known.items() if not ok], key=scale.strength, default=None)
    return good, bad


def numbers(scale):
    """Return values that the axis can have, compressing at least as much as where it begins."""
    ends = [end for end in (scale.weakest, scale.limit, scale.first) if end is not None]
    ends = [end for end in ends if scale.strength(end) >= scale.strength(scale.weakest)]
    low, high = min(ends), max(ends) if scale.limit is not None else 50.0
    drawn = (
        st.integers(math.ceil(low), math.floor(high))
        if scale.is_whole
        else st.floats(max(low, 1e-4), high).map(lambda v: float(f"{v:.4g}"))
    )
    return drawn.filter(lambda v: scale.allows(v) and scale.strength(v) >= scale.strength(scale.weakest))


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("name", [*NAMES, *GEOMETRIC])
def test_it_ends_within_bounds_and_has_the_threshold_of_a_monotone_curve_in_its_bracket(scales, name):
    scale = scales[name]

    @given(st.lists(numbers(scale), min_size=1, max_size=5, unique=True), numbers(scale), st.integers(0, 60))
    def check(grid, threshold, n):
        known = search(scale, grid, threshold, n)
        assert all(scale.allows(value) for value in known) and len(known) <= len(grid) + n
        if scale.is_whole:
            assert all(value == int(value) for value in known)
        good, bad = bracket(scale, known)
        assert scale.strength(good) <= scale.strength(threshold)
        assert bad is None or scale.strength(bad) > scale.strength(threshold)
        assert next_value(scale, dict(reversed(known.items()))) == next_value(scale, known)
        if bad is not None and n == 60:  # nothing is left to split
            width = abs(bad - good)
            narrow = CLOSE * (width if scale.limit is None else abs(scale.limit - good))
            assert width <= max(narrow, 1 if scale.is_whole else 0) or good == scale.weakest or width < 1e-4 * abs(good)

    check()


@pytest.mark.parametrize("name", ["prune", "alpha", "rank", "rate", "bits_budget"])
def test_each_value_halves_the_bracket(scales, name):
    scale = scales[name]

    @given(numbers(scale), numbers(scale), st.integers(1, 6), st.floats(0, 1))
    def check(one, other, n, share):
        weak, strong = sorted((one, other), key=scale.strength)
        known = search(scale, [weak, strong], weak + share * (strong - weak), n)
        if len(known) < 2 + n or not known[weak] or known[strong]:
            return
        good, bad = bracket(scale, known)
        if scale.is_geometric:
            assert abs(math.log(good / bad)) <= abs(math.log(weak / strong)) * (0.52**n) * 1.01
        else:
            assert abs(good - bad) <= abs(weak - strong) / 2**n + 1e-4 * abs(bad)

    check()


@pytest.mark.parametrize(
    ("name", "known", "value"),
    [
        ("prune", {0.1: True, 0.5: True, 0.9: False}, 0.7),
        ("prune", {0.9: True}, 0.95),
        ("prune", {0.9: True, 0.99: True}, 0.995),
        ("prune", {0.5: False}, 0.25),
        ("prune", {0.0: True, 0.1: False}, 0.05),
        ("prune", {0.5: True, 0.504: False}, None),  # narrower than a hundredth of what remains
        ("prune", {0.99: True, 0.995: False}, 0.9925),  # and that is less here
        ("prune", {0.1: False, 0.5: True, 0.9: False}, 0.7),  # the last acceptable one counts
        ("prune", {0.1: True, 0.5: False, 0.9: True}, 0.95),
        ("bits", {8: True, 2: False}, 4),
        ("bits", {8: True, 4: False}, 6),
        ("bits", {4: True, 3: False}, None),
        ("bits", {4: True}, 2),
        ("bits", {2: True}, 1),
        ("bits", {1: True}, None),
        ("bits", {8: False}, 16),
        ("bits", {12: False}, 16),
        ("bits", {16: False}, None),
        ("share", {16: False}, 1024),
        ("share", {256: True, 4: False}, 32),
        ("share", {2: True}, None),
        ("rate", {4: True, 2: False}, 2.83),
        ("rate", {4: True}, 2),
        ("rate", {12: False}, 16),
        ("alpha", {0.5: True, 0.25: False}, 0.375),
        ("alpha", {2: True, 0.5: False}, 0.75),  # wider than the network as it is: no compression
        ("alpha", {2: True}, 0.5),  # nothing that is known compresses: from the network as it is
        ("alpha", {2: False}, 0.5),
        ("rho", {0.5: True}, 0.25),
        ("prune_blocks", {2: True}, 4),
        ("prune_blocks", {0: True}, 1),
        ("octave", {1: True}, None),
        ("prune", {}, None),
    ],
)
def test_values_of_effbenchs_own_axes(scales, name, known, value):
    assert next_value(scales[name], known) == value


def test_what_is_taken_is_not_tried_again(scales):
    assert next_value(scales["prune"], {0.5: True, 0.9: False}, taken=[0.7]) is None
    assert next_value(scales["bits"], {4: True}, taken=[2]) is None


@pytest.mark.parametrize("up", [True, False])
def test_without_an_end_the_value_is_doubled_or_there_is_none(up):
    scale = Scale(
        compresses_up=up, weakest=None, limit=None, is_whole=False, is_geometric=False, first=None, allows=bool
    )
    assert next_value(scale, {3.0: True}) == (6.0 if up else None)
    assert next_value(scale, {3.0: False}) is None
