import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from effbench.analysis import pareto_front, undominated

QUICK = settings(max_examples=60, deadline=None)
# Few distinct values, so that ties and duplicates are common.
RUNS = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 20)), min_size=1, max_size=25).map(
    lambda rows: pd.DataFrame(
        {"cost": [c for c, _ in rows], "score": [q / 20 for _, q in rows], "tag": range(len(rows))}
    )
)


def front_of(frame):
    return pareto_front(frame, cost="cost", quality="score")


def dominates(a, b):
    return a.cost <= b.cost and a.score >= b.score and (a.cost < b.cost or a.score > b.score)


@pytest.mark.extended
@QUICK
@given(RUNS)
def test_nothing_on_the_front_is_dominated_and_everything_else_is(frame):
    front = front_of(frame)
    kept = set(front["tag"])
    rows = list(frame.itertuples())
    for row in rows:
        beaten = any(dominates(other, row) for other in rows)
        equal_kept = any(
            o.cost == row.cost and o.score == row.score for o in rows if o.tag in kept and o.tag != row.tag
        )
        assert (row.tag in kept) == (not beaten and not equal_kept)


@pytest.mark.extended
@QUICK
@given(RUNS)
def test_the_front_ascends_strictly_in_cost_and_quality(frame):
    front = front_of(frame)
    assert (np.diff(front["cost"]) > 0).all()
    assert (np.diff(front["score"]) > 0).all()


@pytest.mark.extended
@QUICK
@given(RUNS, st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_the_order_of_rows(frame, random):
    order = list(range(len(frame)))
    random.shuffle(order)
    assert_frame_equal(front_of(frame.iloc[order]), front_of(frame), check_exact=True)


@pytest.mark.extended
@QUICK
@given(RUNS)
def test_the_front_of_a_front_is_itself(frame):
    front = front_of(frame)
    assert_frame_equal(front_of(front), front, check_exact=True)


def test_seeds_are_averaged_before_the_comparison(seeded):
    front = pareto_front(seeded, cost="size_bytes")
    assert front["point"].tolist() == [
        "prune=0.9",
        "prune=0.5",
        "prune=0.1",
    ]  # 0.1 is cheaper and better than the reference
    assert front["size_bytes"].tolist() == [60_000, 164_000, 380_000]


def test_the_first_varying_cost_is_taken(runs):
    assert_frame_equal(pareto_front(runs), pareto_front(runs, cost="size_bytes"))


def test_of_equal_points_the_reference_stays(runs):
    twin = runs[runs["reference"]].assign(point="alpha=1", reference=False)
    front = pareto_front(pd.concat([twin, runs[runs["reference"]]]), cost="size_bytes")
    assert front["point"].tolist() == ["reference"]


def test_a_csv_gives_the_same_front(runs, tmp_path):
    runs.to_csv(tmp_path / "runs.csv", index=False)
    assert_frame_equal(pareto_front(pd.read_csv(tmp_path / "runs.csv")), pareto_front(runs))
    text = pd.read_csv(tmp_path / "runs.csv", dtype=object)
    assert pareto_front(text)["point"].tolist() == pareto_front(runs)["point"].tolist()


def test_an_empty_frame_has_an_empty_front(runs):
    assert len(pareto_front(runs.iloc[:0])) == 0


@pytest.mark.extended
@QUICK
@given(RUNS)
def test_where_lower_is_better_the_front_is_the_mirror_image(frame):
    lower = frame.assign(error_val=1 - frame["score"]).assign(
        quality_name="error", quality_kind="ratio", quality_unit="points", quality_direction="lower"
    )
    front = pareto_front(lower, cost="cost")
    mirrored = pareto_front(frame.assign(score=-lower["error_val"]), cost="cost", quality="score")
    assert_frame_equal(front[["cost", "tag"]], mirrored[["cost", "tag"]])
    assert (np.diff(front["error_val"]) < 0).all()


def test_the_frames_own_quality_is_taken(segmented, language):
    assert pareto_front(segmented)["point"].tolist() == ["prune=0.9", "prune=0.5", "prune=0.1"]
    assert pareto_front(language)["perplexity_val"].tolist() == [30.0, 21.3, 20.9]


def test_a_point_stays_where_it_is_best_in_one_cost_alone(seeded):
    seeded["params"] = 1000
    best = undominated(seeded, costs=["size_bytes", "macs_effective", "params", "not_there"])
    assert best.tolist() == (seeded["point"] != "reference").tolist()  # prune=0.1 is better than it, and cheaper
    worse = seeded["point"] == "prune=0.1"
    seeded.loc[worse, ["size_bytes", "macs_effective", "accuracy_val"]] = [500_000, 2_000_000, 0.5]
    best = undominated(seeded, costs=["size_bytes", "macs_effective"])
    assert best.tolist() == (~worse).tolist()


def test_networks_do_not_beat_each_other(runs):
    other = runs.assign(model="lenet_5", size_bytes=9, macs_effective=9, accuracy_val=1.0)
    best = undominated(pd.concat([runs, other]), costs=["size_bytes", "macs_effective"])
    assert best.tolist() == [True, False, True, True, *[True] * 4]
