import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.analysis import recommend

from .conftest import runs_of

QUICK = settings(max_examples=40, deadline=None)
POINTS = st.lists(st.tuples(st.integers(1, 60), st.integers(50, 97)), min_size=1, max_size=8)


def frame_of(points):
    return runs_of(
        [("reference", 100, 0.96), *((f"prune={i}", c, q / 100) for i, (c, q) in enumerate(points))], seeds=(0,)
    )


def test_the_cheapest_that_meets_all_budgets_comes_first(runs):
    found = recommend(runs, max_drop=0.02)
    assert found["point"].tolist() == ["prune=0.5", "prune=0.1", "reference"] and found["meets"].all()
    assert recommend(runs, max_drop=0.02, max_macs=2e6, n=1)["point"].tolist() == ["prune=0.5"]
    assert found.attrs["ordered_by"] == "size_bytes"
    assert found["drop_test"][0] == pytest.approx(0.955 - 0.946)


def test_where_none_meets_them_the_nearest_misses_say_by_how_much(runs):
    found = recommend(runs, max_drop=0.02, max_size_bytes=100_000)
    assert not found["meets"].any() and found["point"][0] == "prune=0.9"
    assert (
        found["missed_max_drop"][0] == pytest.approx((0.063 - 0.02) / 0.96) and found["missed_max_size_bytes"][0] == 0
    )
    assert found["missed_max_size_bytes"][1] == pytest.approx(0.64)


def test_budgets_are_inclusive(runs):
    found = recommend(runs, max_drop=0.960 - 0.952, max_size_bytes=164_000)
    assert found["point"].tolist() == ["prune=0.5"]


@pytest.mark.parametrize(("percentile", "chosen"), [(50, "prune=0.5"), (90, "prune=0.1"), (99, "prune=0.9")])
def test_percentiles_are_columns_of_their_own(runs, percentile, chosen):
    for prefix, at in (("latency_ms", "prune=0.5"), ("latency_ms_p90", "prune=0.1"), ("latency_ms_p99", "prune=0.9")):
        runs[f"{prefix}/eager"] = np.where(runs["point"] == at, 1.0, 9.0)
    found = recommend(runs, max_drop=0.1, max_latency_ms=2.0, percentile=percentile)
    assert found["point"].tolist() == [chosen]


def test_seeds_are_averaged_and_lost_ones_do_not_help(lucky):
    found = recommend(lucky, max_drop=0.02)
    assert found["point"][0] == "prune=0.5"
    assert recommend(lucky, max_drop=0.05)["n_seeds"].tolist() == [2, 3, 3]


def test_bounds_on_qualities_are_about_validation(runs, language):
    assert recommend(runs, max_drop=1.0, min_accuracy=0.955)["point"].tolist() == ["prune=0.1", "reference"]
    assert recommend(language, max_drop=50.0, max_perplexity=21.3)["point"][0] == "prune=0.5"


def test_points_without_a_value_are_named(runs):
    runs.loc[runs["point"] == "prune=0.5", "latency_ms/eager"] = np.nan
    found = recommend(runs, max_drop=0.1, max_latency_ms=0.55)
    assert "prune=0.5" not in set(found["point"]) and found.attrs["not_measured"] == ["prune=0.5"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": -0.1}, "max_drop=-0.1: must be a number of at least 0"),
        ({"max_size_bytes": 0}, "max_size_bytes=0: must be a number above 0"),
        ({"max_macs": float("nan")}, "max_macs=nan: must be"),
        ({"max_latency_ms": "5"}, "max_latency_ms='5': must be"),
        ({"max_latency_ms": 5, "percentile": 95}, "percentile=95: must be one of 50, 90, 99"),
        ({"max_latency_ms": 5, "percentile": 99}, "no run has a latency_ms_p99/"),
        ({"max_latency_ms": 5, "engine": "aot"}, "engine='aot': no run has latency_ms/aot; there are eager"),
        ({"engine": "aot"}, "is the engine of max_latency_ms"),
        ({"min_miou": 0.5}, "min_miou=0.5: is no option; a bound is min_ or max_ and one of accuracy"),
        ({"max_accuracy": 0.5}, "accuracy is better when higher: min_accuracy"),
        ({"n": 0}, "n=0: must be"),
    ],
)
def test_wrong_input_is_refused_in_a_line(runs, options, message):
    with pytest.raises(ValueError) as error:
        recommend(runs, **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_what_can_not_be_judged_is_refused(runs):
    with pytest.raises(ValueError, match="2 groups"):
        recommend(pd.concat([runs, runs.assign(model="other")]))
    with pytest.raises(ValueError, match="there are latencies of eager, aot: choose with engine="):
        recommend(runs.assign(**{"latency_ms/aot": 1.0}), max_latency_ms=1)
    with pytest.raises(ValueError, match="not better than chance"):
        recommend(
            runs.assign(quality_name="accuracy", quality_kind="ratio", quality_direction="higher", quality_chance=0.95)
        )
    keyed = runs.assign(reference=False, run_key=runs["point"], reference_key="lost")
    with pytest.raises(ValueError, match="the reference is not among"):
        recommend(keyed, max_size_bytes=1)


@pytest.mark.extended
@QUICK
@given(POINTS, st.randoms(use_true_random=False), st.sampled_from([1, 1000]))
def test_order_of_rows_and_scale_of_units_do_not_move_the_answer(points, random, factor):
    frame = frame_of(points)
    order = list(range(len(frame)))
    random.shuffle(order)
    other = frame.iloc[order].assign(size_bytes=frame["size_bytes"] * factor)
    one, two = recommend(frame, max_size_bytes=30), recommend(other, max_size_bytes=30 * factor)
    assert one["point"].tolist() == two["point"].tolist()
    assert np.allclose(one["missed"], two["missed"])


@pytest.mark.extended
@QUICK
@given(POINTS)
def test_a_dominated_extra_point_does_not_move_the_first(points):
    frame = frame_of(points)
    first = recommend(frame, max_size_bytes=30).iloc[0]
    more = frame_of([*points, (99, 40)])
    assert recommend(more, max_size_bytes=30).iloc[0]["point"] == first["point"]


def test_a_drop_in_points_is_refused(runs):
    with pytest.raises(ValueError, match=r"max_drop=2: is a fraction of the quality, at most 1; 0\.02 is two points"):
        recommend(runs, max_drop=2)
