"""The table of runs, beside one that is made run by run from MLflow's own objects."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from effbench.tracking import names
from effbench.tracking.database import Database
from effbench.tracking.frame import runs_frame
from effbench.tracking.location import sqlite_path

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")

PLAIN = (
    "run_id",
    "run_name",
    "sweep",
    "run_key",
    "point",
    "reference_key",
    "reference",
    "control",
    "refined",
    "start_time",
)


def row_by_hand(run):
    tags = run.data.tags
    return {
        "run_id": run.info.run_id,
        "run_name": tags["mlflow.runName"],
        "sweep": tags[names.SWEEP],
        "run_key": tags[names.RUN_KEY],
        "point": tags.get(names.POINT, ""),
        "reference": tags[names.REFERENCE] == tags[names.RUN_KEY],
        "reference_key": tags[names.REFERENCE],
        "control": tags.get(names.CONTROL) == "true",
        "refined": tags.get(names.REFINED) == "true",
        **{name: tags[name] for name in names.QUALITY_COLUMNS if name in tags},
        "start_time": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
        **run.data.params,
        **run.data.metrics,
    }


def number(column):
    try:
        return column if column.name in PLAIN else pd.to_numeric(column)
    except (ValueError, TypeError):
        return column


def by_hand(uri, sweep=""):
    runs = MlflowClient(uri).search_runs([MlflowClient(uri).get_experiment_by_name("effbench").experiment_id])
    runs = [
        run for run in runs if run.data.tags.get(names.SWEEP, "").startswith(sweep) and names.RUN_KEY in run.data.tags
    ]
    finished = [run for run in sorted(runs, key=lambda run: run.info.start_time) if run.info.status == "FINISHED"]
    rows = {run.data.tags[names.RUN_KEY]: row_by_hand(run) for run in finished}
    return pd.DataFrame(list(rows.values())).apply(number), runs


def read(uri, sweep=None):
    return runs_frame(Database(sqlite_path(uri)).runs(["effbench"], sweep))


@pytest.mark.parametrize("sweep", [None, "abc1", "a", "other", "Abc2"])
def test_it_is_what_the_runs_say_to_the_bit(awkward, sweep):
    expected, runs = by_hand(awkward, sweep or "")
    frame = read(awkward, sweep)
    assert len(frame) == len(expected) > 0
    if sweep is None:
        assert len(frame) == 5
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)
    unfinished = [(run.info.run_id, run.info.status) for run in runs if run.info.status != "FINISHED"]
    assert [(run_id, status) for run_id, _, status, _ in frame.attrs["unfinished"]] == unfinished


def test_texts_and_numbers_of_every_kind_come_back(awkward):
    frame = read(awkward).set_index("run_key")
    assert frame.loc["b", "word"] == 1000.0 and frame.loc["b", "inf"] == float("inf") and frame.loc["b", "nan"] == "NaN"
    assert frame.loc["c", "new"] == '"quoted\\, [\u2028\U0001f600'
    assert frame.loc["c", "loss"] == 1.0  # the last of two
    assert frame.loc["b", "flag"] == "True" and frame.loc["b", "none"] == "None"
    assert frame.loc["d", "ids"] == 7
    assert frame.loc["e", "accuracy"] == 0.5  # a param where there is no metric of that name
    assert np.isnan(frame.loc["b", "loss"])
    assert "foreign" not in frame and "elsewhere" not in frame and "deleted" not in frame


def test_of_several_runs_of_one_key_the_latest_stands_where_the_first_did(awkward):
    frame = read(awkward)
    assert frame["run_key"].tolist()[0] == "c"
    latest = frame[frame["run_key"] == "a"].iloc[0]
    runs = [run for run in by_hand(awkward)[1] if run.data.tags[names.RUN_KEY] == "a" and run.info.status == "FINISHED"]
    first, second, _ = runs  # the two of one moment come in the order of their ids
    assert first.info.start_time == second.info.start_time
    assert latest["run_id"] == second.info.run_id


def test_what_failed_is_listed_once_and_not_where_it_was_finished(awkward):
    failed = read(awkward).attrs["failed"]
    assert failed == [{"point": "", "seed": 4, "control": True, "task": "t"}]
    assert ("run f", "FAILED", "Boom: [x]") in [entry[1:] for entry in read(awkward).attrs["unfinished"]]


def test_runs_that_a_later_one_replaces_are_named(awkward):
    frame, (_, runs) = read(awkward), by_hand(awkward)
    finished = [r.info.run_id for r in runs if r.info.status == "FINISHED" and r.data.tags[names.RUN_KEY] == "a"]
    repeated = frame.attrs["repeated"]
    assert {run_id for run_id, *_ in repeated} == set(finished) - set(frame["run_id"]) and len(repeated) == 2
    assert {tuple(rest) for _, *rest in repeated} == {("run a", "a")}


def test_finished_runs_that_lack_a_quality_or_their_bytes_are_named(uri, opened, record):
    whole = {"accuracy": 0.5, "accuracy_val": 0.5, "size_bytes": 9.0}
    kinds = {
        "whole": whole,
        "half": {"accuracy_val": 0.5, "size_bytes": 9.0},
        "nan": whole | {"accuracy": float("nan")},
        "inf": whole | {"accuracy_val": float("inf"), "size_bytes": -float("inf")},
    }
    kinds |= {"none": {"loss": 1.0}}
    tracker = opened(uri)
    for key, metrics in kinds.items():
        tracker.log_run(replace(record(key), metrics=metrics), status="FINISHED")
    frame = read(uri)
    lacking = {
        frame.set_index("run_id").loc[run_id, "run_key"]: missing for run_id, _, missing in frame.attrs["incomplete"]
    }
    assert lacking == {
        "half": ["accuracy"],
        "nan": ["accuracy"],
        "inf": ["accuracy_val", "size_bytes"],
        "none": ["accuracy_val", "accuracy", "size_bytes"],
    }


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_what_another_tool_logged_as_no_finite_number_is_incomplete(uri, opened, record, value):
    opened(uri).log_run(replace(record("a"), metrics={"accuracy": 0.5, "size_bytes": 9.0}), status="FINISHED")
    run_id = read(uri)["run_id"][0]
    MlflowClient(uri).log_metric(run_id, "accuracy_val", value)
    ((named, _, missing),) = read(uri).attrs["incomplete"]
    assert (named, missing) == (run_id, ["accuracy_val"])


def test_runs_that_refining_added_are_marked_and_older_ones_are_not(uri, opened, record):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    tracker.log_run(record("b", tags={**record("b").tags, names.REFINED: "true"}), status="FINISHED")
    refined = read(uri).set_index("run_key")["refined"]
    assert refined.to_dict() == {"a": False, "b": True} and refined.dtype == bool


def test_axes_are_listed_once_in_the_order_of_the_runs(awkward):
    assert set(read(awkward).attrs["axes"]) <= {"prune", "bits", "rho"}
    assert read(awkward, "Abc2").attrs["axes"] == ["bits", "rho"]
    assert read(awkward).attrs["extra_qualities"] == []


def test_a_later_run_says_what_an_axis_moves(uri, opened, record):
    tracker = opened(uri)
    for key, costs in (("a", ["macs"]), ("b", ["size_bytes"]), ("c", ["macs"])):
        tags = {**record(key).tags, names.MOVES: json.dumps({"prune": costs})}
        tracker.log_run(record(key, tags=tags), status="FINISHED")
    assert read(uri).attrs["moves"] == {"prune": ["macs"]}


@pytest.mark.parametrize("sweep", [None, "no such sweep"])
def test_without_runs_it_is_empty(awkward, sweep):
    frame = runs_frame(Database(sqlite_path(awkward)).runs(["empty"], sweep))
    pd.testing.assert_frame_equal(frame, pd.DataFrame([]))
    nothing = {"axes": [], "moves": {}, "extra_qualities": []}
    assert frame.attrs == nothing | {name: [] for name in ("failed", "unfinished", "repeated", "incomplete")}


def test_runs_of_an_older_effbench_have_fewer_tags(uri):
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("effbench"), tags={names.RUN_KEY: "k"})
    client.set_terminated(run.info.run_id)
    (row,) = read(uri).to_dict("records")
    assert (row["sweep"], row["point"], row["reference_key"], row["reference"], row["control"]) == (
        "",
        "",
        "",
        False,
        False,
    )
