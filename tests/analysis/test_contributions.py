import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.analysis import axis_contributions, contributions_sentence
from effbench.analysis.contributions import axis_rows, moves_of
from effbench.analysis.curves.curve import curve_of

from .conftest import runs_of

QUICK = settings(max_examples=40, deadline=None)
GRID = [("reference", 400, 1.0), ("prune=0.5", 200, 0.95), ("bits=8", 100, 1.0), ("prune=0.5, bits=8", 50, 0.95)]


def lost_by(frame, **options):
    return axis_contributions(frame, cost="size_bytes", **options).set_index("axis")["lost"]


def test_areas_are_those_counted_by_hand():
    """In halvings of the cost and tenths of the quality: bits=8 spans 2 x 1, both together one more halving x 0.5."""
    table = axis_contributions(runs_of(GRID), cost="size_bytes").set_index("axis")
    assert table["hypervolume"].to_numpy() == pytest.approx([2.5, 2.5])
    assert table["without"]["prune"] == pytest.approx(2.0) and table["without"]["bits"] == pytest.approx(0.5)
    assert lost_by(runs_of(GRID))["bits"] == pytest.approx(0.8) and table["n_seeds"].tolist() == [3, 3]
    assert table.loc["bits", ["on_front", "alone"]].tolist() == [2, 1]


def test_front_points_say_which_axes_they_owe_their_place_to():
    attrs = axis_contributions(runs_of(GRID), cost="size_bytes").attrs
    assert attrs["owed_to"] == {"prune=0.5, bits=8": ["prune", "bits"], "bits=8": ["bits"]}


def test_the_interval_is_students_over_seeds():
    points = [(label, size, [q, q - 0.004 * (label != "reference"), q]) for label, size, q in GRID]
    row = axis_contributions(runs_of(points), cost="size_bytes").set_index("axis").loc["bits"]
    assert row["low"] < row["lost"] < row["high"]
    alone = axis_contributions(runs_of(GRID, seeds=(0,)), cost="size_bytes")
    assert alone["low"].isna().all() and set(alone["n_seeds"]) == {1}


def test_the_sentence_says_it_with_its_seeds():
    assert contributions_sentence(axis_contributions(runs_of(GRID), cost="size_bytes")) == (
        "without bits the joint front would lose 80 % of its area (80 to 80, 3 seeds), without prune 20 % (20 to 20)"
    )
    assert contributions_sentence(axis_contributions(runs_of(GRID[:2]), cost="size_bytes")) == ""


def test_where_every_point_has_moved_an_axis_its_best_value_alone_is_what_the_front_is_compared_with():
    """By hand, as above: of all three halvings x 1 and two x 0.5; of bits=8, of prune=0.1 one of the latter less."""
    points = [
        ("reference", 400, 1.0),
        ("prune=0.1, bits=8", 50, 1.0),
        ("prune=0.5, bits=8", 25, 0.95),
        ("prune=0.1, bits=4", 25, 0.95),
        ("prune=0.5, bits=4", 12.5, 0.95),
    ]
    table = axis_contributions(runs_of(points), cost="size_bytes").set_index("axis")
    assert table["hypervolume"].to_numpy() == pytest.approx([4.0, 4.0])
    assert table["held_at"].to_dict() == {"prune": "0.1", "bits": "8"}
    assert table["without"].to_dict() == pytest.approx({"prune": 3.5, "bits": 3.5})
    assert table["lost"].to_numpy() == pytest.approx([0.125, 0.125]) and table["low"].notna().all()
    sentence = contributions_sentence(table.reset_index())
    assert sentence.startswith(
        "with bits held at 8 the joint front would lose 12 % of its area (12 to 12, 3 seeds), with prune held at 0.1"
    )
    same = axis_contributions(runs_of(points[:3]), cost="size_bytes")
    assert contributions_sentence(same) == "" and same.set_index("axis")["n_values"].to_dict() == {
        "prune": 2,
        "bits": 1,
    }
    alone = axis_contributions(runs_of([*points, ("bits=8", 100, 1.0)]), cost="size_bytes").set_index("axis")
    assert alone["held_at"].to_dict() == {"prune": "0.1", "bits": "8"}  # all have moved bits: both are held
    assert alone["without"].to_dict() == pytest.approx({"prune": 3.5, "bits": 3.5})


def test_an_axis_of_its_own_has_the_others_at_neutral():
    curve = curve_of(runs_of(GRID), cost="size_bytes")
    assert [curve.labels[row] for row in axis_rows(curve, "prune")] == ["prune=0.5", "reference"]
    assert moves_of(curve).axes == ["prune", "bits"] or set(moves_of(curve).axes) == {"prune", "bits"}
    with pytest.raises(ValueError, match="axis='rho': must be one that varies"):
        axis_rows(curve, "rho")


def test_where_no_point_has_the_others_neutral_the_least_compressing_value_is_taken():
    points = [("reference", 400, 1.0)] + [
        (f"prune={p}, bits={b}", int(400 * (1 - p) * b / 32), 0.9) for p in (0.5, 0.9) for b in (8, 4)
    ]
    curve = curve_of(runs_of(points), cost="size_bytes")
    assert [curve.labels[row] for row in axis_rows(curve, "prune")] == [
        "prune=0.9, bits=8",
        "prune=0.5, bits=8",
        "reference",
    ]
    assert {"prune=0.5, bits=4", "prune=0.5, bits=8"} <= {curve.labels[row] for row in axis_rows(curve, "bits")}


def test_a_quality_that_is_better_when_lower_is_turned(language):
    table = axis_contributions(language, cost="size_bytes")
    assert table["axis"].tolist() == ["prune"] and table["lost"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (runs_of(GRID), {"depth": 0}, "depth=0: must be a number above 0"),
        (runs_of(GRID[:1]), {}, "no axis varies"),
        (runs_of([*GRID, ("bits=1", 0, 0.5)]), {}, "size_bytes is 0 somewhere"),
        (runs_of(GRID[1:]), {}, "the reference is not among"),
        (runs_of(GRID).assign(accuracy_val=math.nan), {}, "accuracy_val is nan"),
    ],
)
def test_what_has_no_front_is_refused_in_a_line(frame, options, message):
    with pytest.raises(ValueError) as error:
        axis_contributions(frame, cost="size_bytes", **options)
    assert message in str(error.value) and "\n" not in str(error.value)


SWEEPS = st.lists(
    st.tuples(st.sampled_from([0, 0.5, 0.9]), st.sampled_from([32, 8, 4]), st.integers(10, 390), st.integers(85, 101)),
    min_size=1, max_size=9, unique_by=lambda row: row[:2],
)  # fmt: skip


def sweep(rows):
    points = [("reference", 400, 1.0)]
    for prune, bits, size, quality in rows:
        named = [f"prune={prune}"] * (prune > 0) + [f"bits={bits}"] * (bits < 32)
        points += [(", ".join(named), size, quality / 100)] if named else []
    return points


@pytest.mark.extended
@QUICK
@given(SWEEPS, st.randoms(use_true_random=False), st.sampled_from([1, 1024]))
def test_order_of_rows_and_units_do_not_move_it_and_shares_are_shares(rows, random, factor):
    frame = runs_of(sweep(rows))
    if frame["point"].nunique() < 2:
        return
    order = list(range(len(frame)))
    random.shuffle(order)
    one, other = lost_by(frame), lost_by(frame.iloc[order].assign(size_bytes=frame["size_bytes"] * factor))
    assert np.allclose(one.sort_index(), other.sort_index()) and set(one.index) == set(other.index)
    assert one.between(-1e-9, 1 + 1e-9).all()


@pytest.mark.extended
@QUICK
@given(SWEEPS)
def test_a_dominated_extra_point_and_rows_given_twice_under_new_seeds_do_not_move_it(rows):
    frame = runs_of([*sweep(rows), ("prune=0.7", 395, 0.88)])
    worse = runs_of([*sweep(rows), ("prune=0.7", 395, 0.88), ("prune=0.6", 396, 0.87)])
    one, other = lost_by(frame), lost_by(worse)
    assert np.allclose(one.sort_index(), other.sort_index())
    twice = runs_of([*sweep(rows), ("prune=0.7", 395, 0.88)], seeds=(3, 4, 5))
    again = pd.concat([frame, twice])
    assert np.allclose(one.sort_index(), lost_by(again).sort_index())
