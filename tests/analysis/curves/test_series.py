"""Which points are joined: those that differ in one number alone."""

import itertools

import pandas as pd
import pytest

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.series import series_of


def frame(rows, **common):
    """Rows of (label, values of the axes as a mapping); costs and qualities are all different."""
    table = [
        {"point": label, **axes, "reference": label.endswith("reference"), "size_bytes": 1000 - 7 * n, "seed": 0}
        for n, (label, axes) in enumerate(rows)
    ]
    return pd.DataFrame(table).assign(accuracy_val=[0.9 - 0.001 * n for n in range(len(rows))], **common)


def grid(**axes):
    """All combinations, the first of each axis being neutral."""
    names = list(axes)
    rows = []
    for values in itertools.product(*axes.values()):
        own = dict(zip(names, values, strict=True))
        is_reference = all(values[k] == axes[name][0] for k, name in enumerate(names))
        rows.append(("reference" if is_reference else ", ".join(f"{a}={v}" for a, v in own.items()), own))
    return frame(rows)


def series(runs):
    curve = curve_of(runs, cost="size_bytes")
    found = series_of(curve)
    assert sorted(row for one in found for row in one.rows.tolist()) == list(range(len(curve)))
    return {one.name: [curve.labels[row] for row in one.rows] for one in found if one.is_joined}


def test_one_axis_is_one_line_in_the_order_of_its_values():
    assert series(grid(prune=[0.0, 0.9, 0.5])) == {"": ["reference", "prune=0.5", "prune=0.9"]}


@pytest.mark.parametrize(
    ("axes", "names"),
    [
        ({"prune": [0.0, 0.3, 0.5, 0.9], "bits": [32, 8]}, ["bits=8", "bits=32"]),
        ({"alpha": [1.0, 0.75, 0.5, 0.25], "rho": [1.0, 0.5]}, [f"alpha={a}" for a in ("0.25", "0.5", "0.75", "1")]),
        ({"pooling": ["even", "early"], "prune": [0.0, 0.5]}, ["pooling=early", "pooling=even"]),
        (
            {"alpha": [1.0, 0.5], "prune": [0.0, 0.5, 0.9], "bits": [32, 4]},
            ["alpha=0.5, bits=4", "alpha=0.5, bits=32", "alpha=1, bits=4", "alpha=1, bits=32"],
        ),
    ],
)
def test_a_grid_has_a_line_for_each_combination_of_the_other_axes(axes, names):
    found = series(grid(**axes))
    assert list(found) == names
    n_points = 1
    for values in axes.values():
        n_points *= len(values)
    assert sum(map(len, found.values())) == n_points


def test_no_line_joins_categories_networks_or_points_of_different_references():
    assert series(grid(pooling=["even", "early", "late"])) == {}
    networks = frame([("reference", {}), ("reference", {})]).assign(model=["a", "b"])
    assert series(networks) == {}
    rows = [
        (f"coder={c}, {r}", {"prune": p}) for c in ("none", "ans") for r, p in (("reference", 0), ("prune=0.5", 0.5))
    ]
    two = frame(rows).assign(run_key=list("abcd"), reference_key=list("aacc"))
    assert series(two) == {
        "coder=none": ["coder=none, reference", "coder=none, prune=0.5"],
        "coder=ans": ["coder=ans, reference", "coder=ans, prune=0.5"],
    }


def test_labels_alone_are_enough_and_one_point_is_no_line():
    runs = grid(prune=[0.0, 0.5, 0.9]).drop(columns="prune")
    assert set(series(runs)[""]) == {"reference", "prune=0.5", "prune=0.9"}
    assert series(runs[:1]) == {}
