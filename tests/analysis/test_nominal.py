"""Nominal against real: verdicts, their rows, what is named, the figure."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from effbench.analysis import nominal_and_real, not_faster, plot_nominal, points_table, verdicts
from effbench.analysis.nominal import verdict_of

matplotlib.use("Agg")
RATIOS = st.floats(0.05, 50)


@pytest.fixture
def timed(runs):
    """The pruned points on two engines: one makes nothing of zeros, one makes something of many."""
    speedups = {"eager": [1.0, 1.0, 0.8, 1.0], "sparse": [3.0, 1.0, 1.0, 1.9]}
    for engine, values in speedups.items():
        runs[f"speedup/{engine}"] = values
        runs[f"speedup_low/{engine}"] = [0.97 * value for value in values]
        runs[f"speedup_high/{engine}"] = [1.03 * value for value in values]
    return runs


def test_a_row_says_what_was_promised_and_what_was_measured(timed):
    rows = nominal_and_real(timed).set_index(["engine", "point"])
    assert len(rows) == 6  # the reference promises nothing
    last = rows.loc[("sparse", "prune=0.9")]
    assert (last["macs_ratio"], last["macs_effective_ratio"], last["speedup"]) == (1, 10, 3)
    assert last["size_bytes_ratio"] == pytest.approx(400 / 60)
    assert (last["speedup_low"], last["speedup_high"]) == pytest.approx((2.91, 3.09))
    assert rows["verdict"].to_dict() == {
        ("eager", "prune=0.9"): "none",
        ("eager", "prune=0.1"): "slower",
        ("eager", "prune=0.5"): "none",
        ("sparse", "prune=0.9"): "partly",
        ("sparse", "prune=0.1"): "none",
        ("sparse", "prune=0.5"): "as predicted",
    }


def test_points_with_fewer_multiply_adds_that_are_not_faster_are_named(timed):
    assert not_faster(nominal_and_real(timed)) == [
        "eager: fewer multiply-adds, but not faster: prune=0.1 (slower: 0.80×), prune=0.5, prune=0.9",
        "sparse: fewer multiply-adds, but not faster: prune=0.1",
    ]
    many = pd.DataFrame(
        {"engine": "eager", "point": [f"a={n}" for n in range(11)], "macs_effective_ratio": 2.0, "verdict": "none"}
    ).assign(speedup=1.0)
    assert not_faster(many)[0].endswith("a=7 and 3 more")
    many["macs_effective_ratio"] = 1.0
    assert not_faster(many) == []


def test_verdicts_stand_in_the_table_and_at_each_run(timed):
    seeded = pd.concat([timed.assign(seed=seed) for seed in range(3)], ignore_index=True)
    by_run = verdicts(seeded)
    assert list(by_run.columns) == ["verdict/eager", "verdict/sparse"]
    assert by_run["verdict/sparse"].tolist() == ["partly", "", "none", "as predicted"] * 3
    table = points_table(seeded, axes=["prune"])
    assert table["verdict/eager"].tolist() == ["", "slower", "none", "none"]


def test_networks_are_judged_apart(timed):
    other = timed.assign(model="lenet_5", macs_effective=timed["macs"], **{"speedup/eager": 1.0})
    other["speedup_low/eager"], other["speedup_high/eager"] = 0.99, 1.01
    both = pd.concat([timed, other], ignore_index=True)
    assert verdicts(both)["verdict/eager"].tolist() == [
        *("none", "", "slower", "none"),
        *("as predicted", "", "as predicted", "as predicted"),
    ]
    assert nominal_and_real(both)["point"].str.startswith(("model=small_cnn: ", "model=lenet_5: ")).all()


def test_what_was_not_measured_or_is_compared_with_nothing_has_no_rows(runs, timed):
    for frame in (runs.drop(columns=[c for c in runs.columns if c.startswith("speedup")]), timed[:0]):
        assert not len(nominal_and_real(frame)) and not len(verdicts(frame).columns)
    without = timed.drop(columns="reference")
    without["point"] = ["a", "b", "c", "d"]
    assert not len(nominal_and_real(without))
    part = timed.assign(**{"speedup/eager": [np.nan, 1.0, 1.0, 1.0]})
    assert "prune=0.9" not in nominal_and_real(part).query("engine == 'eager'")["point"].tolist()
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_nominal(timed[:0])


@given(RATIOS, RATIOS, st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_verdict_follows_from_the_interval(predicted, speedup, below, above):
    low, high = speedup * (1 - below), speedup * (1 + above)
    verdict = verdict_of(predicted, low, speedup, high)
    if verdict == "slower":
        assert high < 1
    if verdict == "partly":
        assert 1 < low and speedup < predicted
    if verdict == "none":
        assert predicted > 1
    if low > 1 and speedup >= predicted and speedup > 1.02:
        assert verdict == "as predicted"


def test_the_figure_has_a_colour_for_each_engine_and_the_diagonal(timed):
    ax = plot_nominal(timed, ax=Figure().add_subplot())
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(labels) == ["all of it real", "eager", "sparse"]
    marks = {container.get_label(): container.lines[0] for container in ax.containers}
    assert len({line.get_color() for line in marks.values()}) == 2
    assert marks["sparse"].get_xdata().tolist() == pytest.approx([10 / 9, 2, 10], rel=0.01)
    assert marks["sparse"].get_ydata().tolist() == [1.0, 1.9, 3.0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
