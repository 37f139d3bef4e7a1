"""What pairs of values of two axes lose: which cells there are, their order, where other axes stand."""

import numpy as np
import pytest

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.loss_grid import has_grid, loss_grid

from .conftest import runs_of

GRID = [
    ("reference", 400, 1.0),
    ("prune=0.5", 200, 0.99),
    ("bits=8", 100, 1.01),
    ("prune=0.5, bits=8", 50, 0.9),
]


def curve(points, **columns):
    frame = runs_of(points)
    for name, values in columns.items():
        frame[name] = np.repeat(values, 3)
    return curve_of(frame, cost="size_bytes")


def grid_of_numbers(values=((0.0, 32), (0.5, 32), (0.9, 32), (0.0, 8), (0.5, 8), (0.9, 8)), missing=()):
    kept = [pair for pair in values if pair not in missing]
    points = []
    for prune, bits in kept:
        parts = [f"prune={prune}"] * (prune > 0) + [f"bits={bits}"] * (bits < 32)
        points.append((", ".join(parts) or "reference", int(4000 * (1 - prune) * bits / 32), 1 - 0.1 * prune))
    return curve(points, prune=[prune for prune, _ in kept], bits=[bits for _, bits in kept])


def test_axes_are_those_of_most_values_from_the_least_compressed():
    grid = loss_grid(grid_of_numbers())
    assert grid.axes == ("prune", "bits")
    assert (grid.across, grid.down) == (["0", "0.5", "0.9"], ["32", "8"])
    assert np.allclose(grid.losses, [[0, 0.05, 0.09]] * 2)
    assert grid.held == {}


def test_seeds_are_averaged_and_a_better_point_loses_less_than_nothing():
    frame = curve([*GRID[:2], ("bits=8", 100, [1.0, 1.01, 1.02]), GRID[3]])
    grid = loss_grid(frame, ("prune", "bits"))
    assert np.allclose(grid.losses, [[0, 0.01], [-0.01, 0.1]])
    assert (grid.across, grid.down) == (["reference", "0.5"], ["reference", "8"])


def test_what_has_no_run_is_no_number():
    grid = loss_grid(grid_of_numbers(missing=[(0.9, 8)]))
    assert grid.rows[1, 2] == -1 and np.isnan(grid.losses[1, 2])
    assert (grid.rows >= 0).sum() == 5


@pytest.mark.parametrize("has_neutral", [True, False])
def test_other_axes_stand_at_the_neutral_or_least_compressing_value(has_neutral):
    coders = ["none", "ans"] if has_neutral else ["ans", "huffman"]
    points, columns = [("reference", 400, 1.0)], {"prune": [0.0], "bits": [32], "coder": ["none"]}
    for coder in coders:
        for prune in (0.5, 0.9):
            for bits in (8, 4):
                label = f"prune={prune}, bits={bits}" + (f", coder={coder}" if coder != "none" else "")
                size = 400 * (1 - prune) * bits / 32 * {"none": 1, "huffman": 0.9, "ans": 0.5}[coder]
                points.append((label, int(100 * size), 0.9))
                for name, value in zip(columns, (prune, bits, coder), strict=True):
                    columns[name].append(value)
    grid = loss_grid(curve(points, **columns), ("prune", "bits"))
    assert grid.held == {"coder": "none" if has_neutral else "huffman"}
    assert int((grid.rows >= 0).sum()) == 5


def test_categories_come_by_their_cost():
    points = [("reference", 400, 1.0), ("conv=grouped", 100, 0.9), ("conv=separable", 200, 0.9), ("bits=8", 100, 1.0)]
    grid = loss_grid(curve(points), ("conv", "bits"))
    assert grid.across == ["reference", "separable", "grouped"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (("prune", "rho"), "axes: 'rho' does not vary over the points; those that vary: prune, bits"),
        (("prune",), r"axes=\('prune',\): give two different ones"),
        (("prune", "prune"), "give two different ones, what goes across and what goes down"),
        ("prune", "axes='prune': give two different ones"),
    ],
)
def test_axes_that_there_are_not(axes, message):
    with pytest.raises(ValueError, match=message):
        loss_grid(curve(GRID), axes)


@pytest.mark.parametrize(("points", "told"), [(GRID[:1], "none"), (GRID[:2], "prune")])
def test_fewer_than_two_axes(points, told):
    with pytest.raises(ValueError, match=f"^a heat map needs two axes that vary over the points; .*: {told}$"):
        loss_grid(curve(points))


def test_a_grid_needs_points_that_moved_both():
    assert has_grid(curve(GRID))
    assert not has_grid(curve(GRID[:3])) and not has_grid(curve(GRID[:2]))


def test_the_outline_goes_round_what_is_within_the_tolerance():
    grid = loss_grid(curve(GRID), ("prune", "bits"))
    assert sorted(grid.edges(0.02)) == sorted(
        [
            *(((0, 0), (0, 1)), ((0, 1), (0, 2)), ((2, 0), (2, 1)), ((1, 1), (1, 2))),
            *(((0, 0), (1, 0)), ((1, 0), (2, 0)), ((0, 2), (1, 2)), ((1, 1), (2, 1))),
        ]
    )
    assert grid.edges(-1.0) == []
