"""Rank correlations of latency with what is counted, against values computed elsewhere."""

import numpy as np
import pandas as pd
import pytest

from effbench.analysis.correlation import correlation_sentences, rank_correlations


def networks(n=8, seed=0, **columns):
    generator = np.random.default_rng(seed)
    macs = generator.permutation(n) + 1.0
    made = {"point": [f"model=n{number}" for number in range(n)], "macs": macs, "params": generator.permutation(n) + 5}
    made |= {"size_bytes": 4 * made["params"], "latency_ms/eager": np.exp(macs)}
    return pd.DataFrame({**made, **columns})


def test_a_monotone_curve_of_any_form_is_one():
    found = rank_correlations(networks()).set_index("counted")
    assert found.loc["macs", "correlation"] == 1
    assert found.loc["macs", ["low", "high"]].tolist() == [1, 1]
    assert rank_correlations(networks(**{"latency_ms/eager": -np.arange(8)})).shape[0] == 3


@pytest.mark.parametrize(
    ("latency", "macs", "correlation"),
    [
        ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [1, 2, 3, 5, 4], 0.9),
        ([1, 2, 2, 4, 5], [1, 2, 3, 4, 5], 0.974679434481),  # a tie: Pearson's of the mean ranks
        ([106, 100, 86, 101, 99, 103, 97, 113, 112, 110], [7, 27, 2, 50, 28, 29, 20, 12, 6, 17], -0.175757575758),
    ],
)
def test_known_values(latency, macs, correlation):
    runs = networks(len(macs), **{"latency_ms/eager": latency, "macs": macs})
    (row,) = rank_correlations(runs, counted=["macs"]).itertuples()
    assert row.correlation == pytest.approx(correlation, abs=1e-9)
    assert row.low <= row.correlation <= row.high


@pytest.mark.extended
def test_the_interval_covers_as_often_as_it_says():
    """Of 40 networks with a true rank correlation of 0.6 (normal pairs), over 300 draws."""
    generator = np.random.default_rng(1)
    true = 0.6
    pearson = 2 * np.sin(np.pi / 6 * true)
    covered = 0
    for _ in range(300):
        pairs = generator.multivariate_normal([0, 0], [[1, pearson], [pearson, 1]], size=40)
        runs = networks(40, **{"latency_ms/eager": pairs[:, 0], "macs": pairs[:, 1]})
        (row,) = rank_correlations(runs, counted=["macs"]).itertuples()
        covered += row.low <= true <= row.high
    assert 0.91 <= covered / 300 <= 0.985


def test_seeds_are_averaged_and_what_has_no_latency_is_left_out():
    runs = pd.concat([networks(), networks()], ignore_index=True)
    runs["seed"] = [0] * 8 + [1] * 8
    assert set(rank_correlations(runs)["n_points"]) == {8}
    runs.loc[[0, 8], "latency_ms/eager"] = np.nan
    assert set(rank_correlations(runs)["n_points"]) == {7}


def test_of_several_sides_all_and_those_of_the_main_one():
    runs = networks(side=[64] * 7 + [75])
    found = rank_correlations(runs, counted=["macs"])
    assert found[["side", "n_points"]].values.tolist() == [["", 8], ["64", 7]]
    first, second = correlation_sentences(runs)
    assert first.startswith("latency_ms/eager, ranks of 8 networks: follows parameters ")
    assert second.startswith("latency_ms/eager, ranks of 7 networks at side 64: follows parameters ")


@pytest.mark.parametrize(
    "runs",
    [
        networks(4),
        networks().drop(columns=["latency_ms/eager"]),
        networks(macs=1.0, params=2.0, size_bytes=3.0),
        networks().iloc[:0],
    ],
)
def test_too_few_nothing_timed_and_all_equal_say_nothing(runs):
    assert rank_correlations(runs).empty
    assert correlation_sentences(runs) == []


def test_the_order_of_rows_and_units_do_not_matter():
    runs = networks(9, seed=3, **{"latency_ms/eager": np.random.default_rng(2).random(9)})
    other = runs.sample(frac=1, random_state=0)
    other["macs"] *= 1e6
    key = ["latency", "counted"]
    pd.testing.assert_frame_equal(
        rank_correlations(runs).sort_values(key), rank_correlations(other).sort_values(key), check_exact=False
    )
