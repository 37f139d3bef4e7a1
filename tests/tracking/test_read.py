"""Runs read back as one table, and the counts of their examples."""

import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from effbench.run.counts import pack_counts
from effbench.tracking import names
from effbench.tracking.read import load_counts, load_runs
from effbench.tracking.write import MlflowTracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


def test_unknown_experiments_and_sweeps_are_named(uri, opened, record):
    tracker = opened(uri)
    tracker.log_run(record("a"), status="FINISHED")
    with pytest.raises(ValueError, match=r"experiment=other: there is none of that name.*effbench"):
        load_runs("other")
    with pytest.raises(ValueError, match="sweep=ffff: there is none of that id; there are 0123456789ab"):
        load_runs(sweep="ffff")
    assert len(load_runs(sweep="0123")) == 1


@pytest.mark.extended
def test_a_database_is_read_without_mlflow_and_torch(awkward):
    program = (
        "import sys; from effbench import load_runs; assert len(load_runs()) == 5;"
        "print([name for name in ('mlflow', 'sqlalchemy', 'torch', 'hydra') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("folder", ["a b", "100%", "50%25", "a#b", "what?", "é 日本"])
def test_the_working_folder_may_have_any_name(here, awkward, folder, monkeypatch):
    (here / folder).mkdir()
    shutil.move(here / "mlflow.db", here / folder)
    monkeypatch.chdir(here / folder)
    monkeypatch.setitem(sys.modules, "effbench.tracking.server", None)  # it is read without MLflow
    assert len(load_runs()) == 5


OTHER_SCHEMA = "ALTER TABLE runs RENAME COLUMN run_uuid TO run_id"
"""As a version of MLflow may have it, or come to have it."""


def test_what_only_mlflow_can_read_is_read_by_it(awkward, monkeypatch):
    expected = load_runs()

    def unreadable(*_):
        raise sqlite3.OperationalError("no such column")

    monkeypatch.setattr("effbench.tracking.database._read", unreadable)
    pd.testing.assert_frame_equal(load_runs(), expected, check_exact=True)


@pytest.mark.parametrize(
    "change", ["DROP INDEX index_latest_metrics_run_uuid", "DROP INDEX index_params_run_uuid", "ANALYZE"]
)
def test_the_order_of_a_database_does_not_depend_on_its_indices(here, awkward, change):
    expected = load_runs()
    with sqlite3.connect(here / "mlflow.db") as database:
        database.executescript(change)
    database.close()
    found = load_runs()
    pd.testing.assert_frame_equal(found, expected[found.columns], check_exact=True)
    assert set(found.columns) == set(expected.columns)


@pytest.mark.parametrize(
    "change",
    [
        OTHER_SCHEMA,
        "UPDATE alembic_version SET version_num = 'of the future'; DROP TABLE params",
        "DROP TABLE latest_metrics",
        "DELETE FROM alembic_version; DROP TABLE tags",
    ],
)
def test_a_database_that_nobody_can_read_is_said_in_a_line(here, awkward, change):
    with sqlite3.connect(here / "mlflow.db") as database:
        database.executescript(change)
    database.close()
    with pytest.raises(ValueError, match=r"^tracking_uri=sqlite:.*: can't be read \(.+\)$"):
        load_runs()


def test_runs_are_read_while_somebody_writes(here, awkward):
    expected = load_runs()
    writer = sqlite3.connect(here / "mlflow.db")
    try:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM latest_metrics")
        pd.testing.assert_frame_equal(load_runs(), expected, check_exact=True)
        writer.rollback()
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("DELETE FROM latest_metrics")
        pd.testing.assert_frame_equal(load_runs(), expected, check_exact=True)
    finally:
        writer.close()


def test_ids_that_look_like_numbers_stay_text(uri, opened, record):
    tracker = opened(uri, sweep_id="123456789012")
    tracker.log_run(record("10e5", name="7", tags={names.REFERENCE: "10e5", names.POINT: "8"}), status="FINISHED")
    (row,) = load_runs().to_dict("records")
    assert (row["sweep"], row["run_key"], row["point"], row["run_name"]) == ("123456789012", "10e5", "8", "7")


def test_each_key_comes_once_the_latest_and_the_unfinished_are_listed(uri, opened, record):
    for sweep_id, accuracy in (("first", 0.1), ("second", 0.2)):
        tracker = opened(uri, sweep_id=sweep_id)
        tracker.log_run(record("a", metrics={"accuracy": accuracy}), status="FINISHED")
    tracker.log_run(record("b", tags={**record("b").tags, names.ERROR: "Boom: x"}, metrics={}), status="FAILED")
    frame = load_runs()
    assert frame[["run_key", "accuracy"]].to_numpy().tolist() == [["a", 0.2]]
    ((_, name, status, error),) = frame.attrs["unfinished"]
    assert (name, status, error) == ("point b, seed=0", "FAILED", "Boom: x")
    assert load_runs(sweep="first")["accuracy"].tolist() == [0.1]


def test_seeds_that_failed_are_told_by_point_until_they_are_finished(uri, opened, record):
    tracker = opened(uri)
    tags = record("a").tags
    for seed in (0, 1, 2):
        tracker.log_run(record(str(seed), params={"seed": seed}, tags=tags, metrics={}), status="FAILED")
    tracker.log_run(record("1", params={"seed": 1}, tags=tags), status="FINISHED")
    failed = load_runs().attrs["failed"]
    assert [(run["point"], run["seed"], run["control"]) for run in sorted(failed, key=lambda run: run["seed"])] == [
        (tags[names.POINT], seed, False) for seed in (0, 2)
    ]


def test_what_each_axis_moves_is_known_where_every_run_says_it(uri, opened, record):
    tracker = opened(uri)
    for key, moves in (("a", '{"prune": ["size_bytes"], "distill": []}'), ("b", '{"bits": ["size_bytes"]}')):
        tracker.log_run(record(key, tags={**record(key).tags, names.MOVES: moves}), status="FINISHED")
    assert load_runs().attrs["moves"] == {"prune": ["size_bytes"], "distill": [], "bits": ["size_bytes"]}
    tracker.log_run(record("c"), status="FINISHED")
    assert load_runs().attrs["moves"] == {}


def test_an_experiment_without_finished_runs_is_an_empty_frame(uri, opened, record):
    opened(uri).log_run(record("a", metrics={}), status="FAILED")
    frame = load_runs()
    assert len(frame) == 0
    assert len(frame.attrs["unfinished"]) == 1


def written_counts(keys):
    """Return counts of 13 validation and 21 test examples for each key."""
    rng = np.random.default_rng(0)
    return {key: {split: rng.integers(0, 9, (n, 2, 2)) for split, n in (("val", 13), ("test", 21))} for key in keys}


def test_counts_are_read_back_by_run_key(uri, opened, record):
    tracker, written = opened(uri), written_counts("ab")
    for key, counts in written.items():
        tags = {**record(key).tags, f"{names.QUALITY}_kind": "mean_of_ratios"}
        tracker.log_run(record(key, tags=tags, files={names.COUNTS: pack_counts(**counts)}), status="FINISHED")
    frame = load_runs()
    for quality, split in ((None, "val"), ("accuracy_val", "val"), ("accuracy", "test")):
        found = load_counts(frame, quality=quality)
        assert found.kind == "mean_of_ratios"
        assert sorted(found.by_run) == ["a", "b"]
        assert all(np.array_equal(found.by_run[key], written[key][split]) for key in found.by_run)
    assert list(load_counts(frame[frame["run_key"] == "b"]).by_run) == ["b"]


def test_counts_that_are_not_there_are_named(uri, opened, record):
    opened(uri).log_run(record("a"), status="FINISHED")
    frame = load_runs()
    with pytest.raises(ValueError, match=r"^run a: its counts can't be read"):
        load_counts(frame)
    with pytest.raises(ValueError, match=r"^quality=loss: counts are known of accuracy_val and of accuracy$"):
        load_counts(frame, quality="loss")


@pytest.mark.parametrize("content", [b"", b"PK", b"no counts"])
def test_counts_that_are_damaged_are_named(uri, opened, record, content):
    opened(uri).log_run(record("a", files={names.COUNTS: content}), status="FINISHED")
    with pytest.raises(
        ValueError, match=r"^run a: its counts can't be read \(these are no counts of examples, or damag"
    ):
        load_counts(load_runs())


def test_runs_of_several_qualities_have_no_counts_in_common(uri, opened, record):
    tracker = opened(uri)
    for key, name in (("a", "accuracy"), ("b", "miou")):
        tags = {**record(key).tags, f"{names.QUALITY}_name": name}
        tracker.log_run(record(key, tags=tags), status="FINISHED")
    with pytest.raises(ValueError, match=r"^the runs have 2 qualities \(accuracy, miou\): select one$"):
        load_counts(load_runs())


def test_what_the_quality_is_stands_in_columns(uri, opened, record):
    quality = {"name": "perplexity", "kind": "exp_of_ratio", "unit": "", "direction": "lower", "chance": "100.5"}
    tags = {**record("a").tags, **{f"{names.QUALITY}_{field}": value for field, value in quality.items()}}
    opened(uri).log_run(record("a", tags=tags), status="FINISHED")
    (row,) = load_runs().to_dict("records")
    assert (row["quality_name"], row["quality_kind"], row["quality_direction"]) == (
        "perplexity",
        "exp_of_ratio",
        "lower",
    )
    assert row["quality_chance"] == 100.5


class TestSeveralExperiments:
    def test_they_are_one_table_with_a_column_that_says_which(self, awkward):
        frame = load_runs(["effbench", "another", "effbench"])
        assert dict(zip(frame["run_key"], frame["experiment"], strict=True)) == {
            **dict.fromkeys("abcde", "effbench"),
            "z": "another",
        }
        assert frame["run_key"].is_unique
        assert "experiment" not in load_runs("effbench")
        alone = load_runs(["effbench"]).drop(columns="experiment")
        pd.testing.assert_frame_equal(alone, load_runs("effbench"), check_exact=True)
        assert load_runs(["empty"]).empty

    def test_each_key_is_there_once_the_latest_of_all(self, uri, record):
        for experiment, loss in (("one", 1.0), ("two", 2.0)):
            tracker = MlflowTracker(uri, experiment)
            tracker.open_sweep("0123456789ab", name="a sweep", params={}, tags={})
            tracker.log_run(record("a", metrics={"loss": loss}, began=1000.0 + loss, ended=1010.0), status="FINISHED")
            tracker.close_sweep(status="FINISHED", metrics={}, files={}, tags={})
        for order in (["one", "two"], ["two", "one"]):
            assert load_runs(order)[["experiment", "loss"]].to_numpy().tolist() == [["two", 2.0]]

    def test_mlflow_reads_the_same(self, awkward, monkeypatch):
        expected = load_runs(["effbench", "another"])
        monkeypatch.setattr("effbench.tracking.database.Database.runs", unreadable)
        pd.testing.assert_frame_equal(load_runs(["effbench", "another"]), expected, check_exact=True)

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            (["effbench", "efbench"], "experiment=efbench: .* did you mean effbench.* there are Default, another"),
            (["x"], "experiment=x: there is none of that name"),
            ([], "must be the name of an experiment, or a list of names"),
            (["effbench", 3], "must be the name of an experiment, or a list of names"),
        ],
    )
    def test_what_is_none_is_said_in_one_line(self, awkward, asked, message):
        with pytest.raises(ValueError, match=message) as caught:
            load_runs(asked)
        assert "\n" not in str(caught.value)


def unreadable(*_):
    raise sqlite3.OperationalError("no such column")


def test_columns_of_runs_of_an_earlier_version_are_their_params(uri, opened, record):
    tracker = opened(uri)
    config = b"train:\n  weight_decay: 0.02\n  lr: 0.1\n"
    tracker.log_run(record("a", params={"prune": 0, "train.weight_decay": 0.01}), status="FINISHED")
    tracker.log_run(record("b", params={"prune": 0.5}, files={"config.yaml": config}), status="FINISHED")
    frame = load_runs(columns=["train.weight_decay", "train.lr"])
    assert frame["train.weight_decay"].tolist() == [0.01, 0.02]
    assert frame["train.lr"].tolist()[1] == 0.1 and np.isnan(frame["train.lr"][0])
    for wrong in ([3], [""], ["train.weight"]):
        with pytest.raises(ValueError, match=r"^columns="):
            load_runs(columns=wrong)


def test_no_password_is_in_what_is_said(uri, opened):
    opened(uri)
    with pytest.raises(
        ValueError, match=r"tracking_uri=postgresql://me:\*\*\*@127.0.0.1:9/db: can't be used"
    ) as caught:
        load_runs(tracking_uri="postgresql://me:hunter2hunter2@127.0.0.1:9/db")
    assert "hunter2" not in str(caught.value)
