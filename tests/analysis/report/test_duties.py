"""What a benchmark owes: what is met, what is missing, and what this sweep does not need."""

import pandas as pd
import pytest

from effbench.analysis.report.duties import duties


def runs_of(n_points=5, n_seeds=3, **columns):
    rows = [
        {
            "point": "reference" if number == 0 else f"prune=0.{number}",
            "reference": number == 0,
            "seed": seed,
            "size_ratio": 2.0,
            "macs_effective": 10,
            "accuracy": 0.9,
            "accuracy_val": 0.9,
            "accuracy_top5": 0.99,
            "stage.prune.criterion": ("random", "magnitude")[number % 2],
            "quality_name": "accuracy",
            "quality_kind": "ratio",
            "quality_unit": "points",
            "quality_direction": "higher",
            "quality_chance": 0.1,
            **columns,
        }
        for number in range(n_points + 1)
        for seed in range(n_seeds)
    ]
    return pd.DataFrame(rows)


def states(frame):
    return {duty.name: duty.state for duty in duties(frame)}


def test_a_whole_benchmark_owes_nothing():
    assert set(states(runs_of()).values()) == {"met"}


@pytest.mark.parametrize(
    "frame, name",
    [
        (runs_of(n_points=4), "five operating points"),
        (runs_of(n_seeds=2), "mean and standard deviation over three seeds"),
        (runs_of().drop(columns="size_ratio"), "compression ratio and theoretical speed-up"),
        (runs_of(macs_effective=float("nan")), "compression ratio and theoretical speed-up"),
        (runs_of(quality_chance=0.001).drop(columns="accuracy_top5"), "Top-5 beside Top-1"),
        (runs_of().query("not reference").assign(reference=False), "the uncompressed control beside every curve"),
        (runs_of(**{"stage.prune.criterion": "magnitude"}), "random and magnitude baselines"),
        (runs_of().iloc[:-1], "the same initial weights, data and training"),
        (runs_of().drop(columns="accuracy"), "chosen on validation, reported on test"),
    ],
)
def test_what_is_missing_is_said(frame, name):
    assert states(frame)[name] == "missing"
    assert next(duty for duty in duties(frame) if duty.name == name).said


def test_few_classes_need_no_top5_and_other_axes_no_baselines():
    frame = runs_of().drop(columns=["accuracy_top5", "stage.prune.criterion"])
    frame["point"] = frame["point"].str.replace("prune=0.", "bits=")
    found = states(frame)
    assert (found["Top-5 beside Top-1"], found["random and magnitude baselines"]) == ("not needed", "not needed")


def test_no_run_owes_what_runs_show():
    assert states(pd.DataFrame({"point": []}))["the uncompressed control beside every curve"] == "missing"
