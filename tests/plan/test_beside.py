"""The next value beside the best one: the wider gap, beyond the end, on every scale; and where there is none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.config.members import declared_axes
from effbench.config.refining import scale_of
from effbench.plan.beside import value_beside


@pytest.fixture(scope="module")
def scales():
    axes = declared_axes()
    return {name: scale for name in axes if (scale := scale_of(axes[name])) is not None}


@pytest.mark.parametrize(
    ("name", "costs", "best", "value"),
    [
        ("prune", {0: 8, 0.5: 4, 0.9: 1}, [0.5], 0.7),  # two doublings beside one
        ("prune", {0: 8, 0.5: 2, 0.9: 1}, [0.5], 0.25),
        ("prune", {0: 8, 0.5: 4, 0.9: 2}, [0.5], 0.25),  # of equally wide ones the one that compresses less
        ("prune", {0: 8, 0.5: 4, 0.9: 1}, [0.9], 0.95),  # beyond the end
        ("prune", {0: 8, 0.5: 4, 0.9: 1}, [0], 0.25),  # the reference: before the first one
        ("prune", {0: 8, 0.5: 4, 0.504: 1}, [0.5], 0.25),  # the wider one is too narrow to be split
        ("prune", {0: 8, 0.5: 4, 0.6: 3, 0.9: 1}, [0, 0.5], 0.25),  # several: the widest beside any of them
        ("prune", {0: 8, 0.5: 4, 0.6: 3, 0.9: 1}, [0, 0.9], 0.75),  # which is beyond none of them
        ("prune", {0: 8, 0.5: 4, 0.9: 0}, [0.5], 0.7),  # nothing costs anything there: as wide as can be
        ("bits", {32: 4, 8: 1, 2: 0.25}, [8], 16),
        ("bits", {32: 4, 8: 2, 2: 0.25}, [8], 4),
        ("bits", {32: 4, 3: 0.4, 2: 0.1}, [3], 10),  # between whole numbers that follow each other there is none
        ("bits", {32: 4, 2: 2, 1: 1}, [1], None),
        ("bits", {32: 4, 4: 2, 1: 1}, [1], 2),  # beyond the end there is none
        ("share", {256: 2, 4: 1}, [256], 32),
        ("alpha", {2: 2, 1: 1, 0.5: 0.3}, [1], 0.75),
        ("alpha", {2: 4, 1: 1, 0.5: 0.5}, [1], 1.5),  # wider than the network as it is
        ("prune_blocks", {0: 2, 2: 1}, [2], 4),
        ("prune", {}, [], None),
    ],
)
def test_values_of_effbenchs_own_axes(scales, name, costs, best, value):
    assert value_beside(scales[name], costs, best) == value


def test_what_has_no_cost_bounds_gaps_and_is_not_tried_again(scales):
    prune, costs = scales["prune"], {0: 8.0, 0.5: 4.0, 0.9: 1.0}
    assert value_beside(prune, costs, [0.9], taken=[0.95]) == 0.925
    assert value_beside(prune, costs, [0.5], taken=[0.7]) == 0.6
    assert value_beside(prune, costs, [0.9], taken=[0.2, 0.8]) == 0.95
    assert value_beside(scales["bits"], {8: 2.0, 4: 1.0}, [4], taken=[3, 5]) is None


ENDS = {"prune": 0.8, "alpha": 0.3, "rank": 0.3, "tokens": 0.4, "rate": 2.5, "bits_budget": 3.5}


@pytest.mark.parametrize("name", ENDS)
def test_it_comes_to_the_best_of_any_curve_with_one(scales, name):
    scale, end = scales[name], ENDS[name]

    @given(st.floats(0.02, 0.98))
    def check(where):
        weak = max((one for one in (scale.weakest, scale.first) if one is not None), key=scale.strength)
        best = weak + where * (end - weak)
        known = [weak, weak + 0.5 * (end - weak), end]
        for _ in range(24):
            costs = {value: math.exp(-scale.strength(value)) for value in known}
            value = value_beside(scale, costs, [min(known, key=lambda one: abs(one - best))])
            if value is None:
                break
            assert value not in known and scale.allows(value)
            known.append(value)
        assert min(abs(value - best) for value in known) < 0.02 * abs(end - weak) + 0.01 * abs(scale.limit - weak)

    check()
