import numpy as np
import pandas as pd
import pytest

from effbench.analysis import pareto_front, points_table, saturation_point, varying_costs
from effbench.analysis.curves.costs import chosen_cost, cost_words


def test_costs_that_vary_come_in_their_order(runs):
    assert varying_costs(runs) == ["size_bytes", "macs_effective"]
    assert varying_costs(runs.assign(macs=[1, 2, 3, 4])[::-1]) == ["size_bytes", "macs_effective", "macs"]


@pytest.mark.parametrize(("fastest", "varies"), [(0.95, False), (0.90, False), (0.89, True)])
def test_a_latency_varies_beyond_its_jitter(fastest, varies):
    frame = pd.DataFrame(
        {"point": ["reference", "prune=0.5"], "size_bytes": [2, 1], "latency_ms/eager": [1.0, fastest]}
    )
    assert ("latency_ms/eager" in varying_costs(frame)) is varies


def test_a_latency_is_judged_by_its_paired_speedup_where_there_is_one():
    frame = pd.DataFrame({"point": ["reference", "prune=0.5"], "size_bytes": [2, 1], "latency_ms/eager": [1.0, 0.7]})
    assert "latency_ms/eager" not in varying_costs(frame.assign(**{"speedup/eager": [1.0, 1.02]}))
    assert "latency_ms/eager" in varying_costs(frame.assign(**{"speedup/eager": [1.0, 1.4]}))


def test_a_latency_is_judged_by_the_points_means_not_by_single_runs():
    frame = pd.DataFrame(
        {
            "point": ["reference"] * 2 + ["prune=0.5"] * 2,
            "seed": [0, 1, 0, 1],
            "size_bytes": [2, 2, 1, 1],
            "latency_ms/eager": [0.8, 1.2, 1.2, 0.8],
            "latency_ms_p90/eager": [1, 2, 3, 4],
        }
    )
    assert varying_costs(frame) == ["size_bytes"]


def test_bytes_that_only_the_entropy_coder_moved_do_not_vary():
    frame = pd.DataFrame({"size_bytes": [100_000, 100_300, 99_900], "macs": [1, 2, 3]})
    assert varying_costs(frame) == ["macs"]


def test_an_unmeasured_column_does_not_vary(runs):
    assert "latency_ms/eager" not in varying_costs(runs.assign(**{"latency_ms/eager": np.nan}))


def test_none_varies_is_an_error(runs):
    with pytest.raises(ValueError, match=r"none of .* varies over the 4 points"):
        varying_costs(runs[["point", "macs"]])
    with pytest.raises(ValueError, match="no cost of effbench"):
        varying_costs(pd.DataFrame({"energy": [1, 2]}))


def test_what_is_better_when_higher_is_no_cost(runs):
    with pytest.raises(ValueError, match="better when higher"):
        pareto_front(runs, cost="accuracy")
    with pytest.raises(ValueError, match="macs holds values that are not numbers"):
        varying_costs(runs.assign(macs=["many", "few", "few", "none"]))


@pytest.mark.parametrize(
    ("cost", "low", "high", "unit"),
    [
        ("size_bytes", 100, 900, "bytes"),
        ("size_bytes", 5_000, 2_000_000, "KB"),
        ("size_bytes", 2_000_000, 9_000_000, "MB"),
        ("macs", 2e5, 4e6, "K MACs"),
        ("macs", 5e5, 4e6, "M MACs"),
        ("latency_ms/eager", 0.1, 3.0, "ms"),
        ("energy", 0.0, 3.0, ""),
    ],
)
def test_units(cost, low, high, unit):
    assert cost_words(cost).unit_for(low, high)[1] == unit


@pytest.mark.parametrize("column", ["throughput/eager.b8", "speedup/eager", "size_ratio", "coding_gain"])
def test_no_gain_is_a_cost(runs, column):
    with pytest.raises(ValueError, match=f"cost='{column}' is better when higher"):
        pareto_front(runs.assign(**{column: 2.0}), cost=column)


def test_the_frames_quality_is_no_cost_where_higher_is_better(segmented, language):
    for column in ("miou", "miou_val"):
        with pytest.raises(ValueError, match=f"cost='{column}' is better when higher"):
            pareto_front(segmented, cost=column)
    assert len(pareto_front(language.assign(score=0.5), cost="perplexity", quality="score")) == 1


def test_what_a_training_took_is_a_cost_that_is_asked_for(runs):
    took = runs.assign(train_macs=[4e12, 1e12, 2e12, 3e12], train_seconds_total=[1.0, 9.0, 2.0, 3.0])
    assert varying_costs(took) == varying_costs(runs)
    for cost in ("train_macs", "train_seconds_total", "teacher_macs", "teacher_seconds", "train_seconds"):
        assert chosen_cost(took.assign(**{cost: 1.0}), cost) == cost
        assert cost_words(cost).title != cost


@pytest.mark.parametrize(
    ("cost", "low", "high", "unit"),
    [
        ("train_macs", 1e13, 1e14, (1e12, "T MACs")),
        ("teacher_macs", 1e18, 1e19, (1e18, "E MACs")),
        ("train_seconds_total", 30, 50, (1.0, "s")),
        ("teacher_seconds", 7200, 9000, (3600.0, "h")),
    ],
)
def test_units_of_training(cost, low, high, unit):
    assert cost_words(cost).unit_for(low, high) == unit


@pytest.mark.parametrize(
    ("cost", "low", "high", "unit"),
    [
        ("peak_memory_bytes", 5_000, 20_000, (1e3, "KB")),
        ("peak_memory_bytes", 2e7, 6e8, (1e6, "MB")),
        ("energy_modelled_uj", 0.5, 90, (1.0, "µJ")),
        ("energy_modelled_uj", 3_000, 90_000, (1e3, "mJ")),
    ],
)
def test_units_of_memory_and_energy(cost, low, high, unit):
    assert cost_words(cost).unit_for(low, high) == unit


@pytest.mark.parametrize(
    ("cost", "title"), [("peak_memory_bytes", "peak memory"), ("energy_modelled_uj", "modelled energy")]
)
def test_memory_and_energy_are_costs_that_are_asked_for(runs, cost, title):
    measured = runs.assign(**{cost: [3e6, 9e6, 8e6, 5e6]})
    assert varying_costs(measured) == varying_costs(runs)
    assert cost_words(cost).title == title
    assert saturation_point(measured, cost=cost).point is not None
    assert points_table(measured, axes=["prune"]).equals(points_table(runs, axes=["prune"]))


@pytest.mark.parametrize("cost", ["peak_memory_bytes", "energy_modelled_uj"])
def test_runs_of_earlier_versions_lack_memory_and_energy(runs, cost):
    partly = runs.assign(**{cost: [np.nan, 9e6, np.nan, np.nan]})
    assert varying_costs(partly) == varying_costs(runs)
    reasons = {saturation_point(frame, cost="size_bytes").reason for frame in (runs, partly)}
    assert len(reasons) == 1
    with pytest.raises(ValueError, match=f"{cost} is nan in row 0"):
        pareto_front(partly, cost=cost)
