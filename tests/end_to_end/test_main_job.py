"""The main job: one real sweep in a subprocess, and everything that it prints, logs and leaves behind."""

import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

import effbench
from effbench.analysis import saturation_sentence
from effbench.codec import decode
from effbench.data.digits import digits
from effbench.models import small_cnn
from effbench.tasks.classification import Classification
from effbench.training.evaluation import evaluate

METRICS = {
    *("accuracy", "accuracy_val", "accuracy_top5", "accuracy_top5_val", "accuracy_worst_class", "calibration_error"),
    *("train_seconds_total", "train_macs", "teacher_seconds", "teacher_macs"),
    *("loss", "macs", "macs_effective", "flops", "params", "params_nonzero"),
    *("peak_memory_bytes", "energy_modelled_uj"),
    *(
        "size_bytes",
        "size_ratio",
        "coding_gain",
        "train_seconds",
        "train_memory_mb",
        "latency_ms/eager",
        "latency_ms_p90/eager",
        "latency_ms_p99/eager",
        "latency_ms_spread/eager",
        "speedup/eager",
        "speedup_low/eager",
        "speedup_high/eager",
    ),
}

CURVES = {
    f"curve/{step}/{value}" for step in ("train", "finetune") for value in ("loss", "lr", "accuracy", "accuracy_top5")
}


def by_point(folder):
    return {run.data.tags["effbench.point"]: run for run in folder.children("FINISHED")}


def test_the_sweep_ends_well_and_says_nothing_on_stderr(shared):
    assert shared.finished.returncode == 0
    assert shared.finished.stderr == ""


def test_the_table_has_a_row_per_point_and_the_values_that_were_logged(shared):
    lines = shared.finished.stdout.splitlines()
    rows = [line.split() for line in lines if re.match(r"\s*(0|0\.1|0\.5|0\.9) ", line)]
    assert [row[0] for row in rows] == ["0", "0.1", "0.5", "0.9"]
    accuracies = {run.data.params["prune"]: run.data.metrics["accuracy"] for run in shared.children("FINISHED")}
    expected = [f"{100 * accuracies[value]:.1f}" for value in ("0", "0.1", "0.5", "0.9")]
    assert [row[1] for row in rows] == expected


def test_every_cost_that_varies_has_a_sentence_and_names_a_point(shared):
    for cost in ("size_bytes", "macs_effective"):
        (sentence,) = [line for line in shared.finished.stdout.splitlines() if line.startswith(f"{cost}:")]
        assert "prune=" in sentence


def test_the_figure_is_a_picture_of_sensible_size(shared):
    (line,) = [line for line in shared.finished.stdout.splitlines() if line.startswith("figure:")]
    with Image.open(shared.path / line.removeprefix("figure:").strip()) as picture:
        assert picture.format == "PNG"
        assert 800 <= picture.width <= 6000
        assert 500 <= picture.height <= 3000
        assert len(set(picture.convert("L").resize((60, 40)).tobytes())) > 5  # something is drawn
    assert "mlflow ui" in shared.finished.stdout


def test_one_parent_with_one_finished_child_a_point(shared):
    (parent,) = shared.parents()
    children = shared.children()
    assert parent.info.status == "FINISHED"
    assert [run.info.status for run in children] == ["FINISHED"] * 4
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.data.tags["mlflow.runName"] for run in children} == {
        f"{label}, seed=0" for label in ("reference", "prune=0.1", "prune=0.5", "prune=0.9")
    }
    sweeps = {run.data.tags["effbench.sweep"] for run in [parent, *children]}
    assert len(sweeps) == 1


def test_the_metrics_are_those_of_the_design(shared):
    for run in shared.children():
        is_reference = run.data.tags["effbench.reference"] == run.data.tags["effbench.run_key"]
        measured = {name for name in run.data.metrics if not name.startswith("curve/")}
        assert set(run.data.metrics) - measured == CURVES
        may_be_there = {"energy_mj/eager"}  # where this machine shows its counters
        assert measured - may_be_there == METRICS | ({"rounds_done"} if is_reference else set())
        assert all(np.isfinite(value) for value in run.data.metrics.values())
        assert run.data.metrics["flops"] == 2 * run.data.metrics["macs"]
    reference = by_point(shared)["reference"].data.metrics
    assert reference["speedup/eager"] == 1
    assert reference["macs_effective"] == reference["macs"]


def test_axes_are_params_of_every_run(shared):
    values = {run.data.params["prune"] for run in shared.children()}
    assert values == {"0", "0.1", "0.5", "0.9"}
    for run in shared.children():
        assert run.data.params["seed"] == "0"
        assert run.data.params["model"] == "small_cnn"
        assert run.data.params["data"] == "digits"
        assert run.data.params["train.epochs"] == "3"
    (parent,) = shared.parents()
    assert "prune" not in parent.data.params  # it differs between the runs
    assert parent.data.params["train.epochs"] == "3"


def test_runs_have_the_times_at_which_they_were_computed_within_those_of_their_parent(shared):
    (parent,) = shared.parents()
    for run in shared.children():
        assert parent.info.start_time <= run.info.start_time <= run.info.end_time <= parent.info.end_time
        assert run.info.end_time - run.info.start_time >= 1000 * run.data.metrics["train_seconds"] - 1
    runs = by_point(shared)
    assert runs["prune=0.5"].info.start_time >= runs["reference"].info.end_time  # it waited for the reference's network


def test_runs_say_who_began_them_what_they_saw_and_can_be_searched(shared):
    (parent,) = shared.parents()
    for run in (parent, *shared.children()):
        assert run.data.tags["mlflow.source.name"] in ("python -m effbench.sweep", "effbench sweep")
        assert run.data.tags["mlflow.source.type"] == "LOCAL" and run.data.tags["mlflow.user"]
        assert len(run.data.params) <= 20
    for run in shared.children():
        contexts = [entry.tags[0].value for entry in run.inputs.dataset_inputs]
        assert sorted(contexts) == ["test", "train", "validation"]
    found = shared.client.search_runs([parent.info.experiment_id], "tags.effbench.axis.prune = '0.5'")
    assert [run.data.tags["effbench.point"] for run in found] == ["prune=0.5"]
    assert "| prune | " in parent.data.tags["mlflow.note.content"]
    assert shared.frame(columns="train.weight_decay")["train.weight_decay"].tolist() == [0.01] * 4


def test_tags_name_the_reference_and_how_real_a_saving_is(shared):
    runs = by_point(shared)
    key = runs["reference"].data.tags["effbench.run_key"]
    assert {run.data.tags["effbench.reference"] for run in runs.values()} == {key}
    assert len({run.data.tags["effbench.run_key"] for run in runs.values()}) == 4
    pruned = {k: v for k, v in runs["prune=0.5"].data.tags.items() if k.startswith("effbench.realised/")}
    assert pruned == {
        "effbench.realised/bytes": "executed",
        "effbench.realised/macs": "masked",
        "effbench.realised/latency": "masked",
        "effbench.realised/latency/eager": "masked",
    }
    assert runs["prune=0.5"].data.tags["effbench.verdict/eager"] in ("none", "partly", "slower")  # of zeros
    assert not [tag for tag in runs["reference"].data.tags if tag.startswith("effbench.realised")]
    for run in runs.values():
        assert run.data.tags["effbench.axes"] == "prune"
        assert torch.__version__.startswith(run.data.tags["version.torch"])
        assert run.data.tags["machine"]


def test_the_data_set_is_logged(shared):
    for run in shared.children():
        inputs = {entry.tags[0].value: entry.dataset for entry in run.inputs.dataset_inputs}
        assert {dataset.name for dataset in inputs.values()} == {"digits"}
        sizes = {context: json.loads(dataset.profile)["num_rows"] for context, dataset in inputs.items()}
        assert sizes == {"train": 3000, "validation": 1000, "test": 1000}
        for dataset in inputs.values():
            assert json.loads(dataset.source)["tags"]["digest"] == digits().fingerprint


def test_the_logged_file_is_the_network_that_was_measured(shared):
    data = digits()
    for run in shared.children():
        blob = shared.artifact(run, "model.effb").read_bytes()
        assert len(blob) == run.data.metrics["size_bytes"]
        model = decode(blob, small_cnn())
        for split, metric in (("test", "accuracy"), ("val", "accuracy_val")):
            assert evaluate(model, data, split, task=Classification(), side=28).quality == run.data.metrics[metric]


def test_the_counts_of_every_example_give_the_accuracy(shared):
    for run in shared.children():
        with np.load(shared.artifact(run, "counts.npz")) as counts:
            for split, metric in (("val", "accuracy_val"), ("test", "accuracy")):
                assert counts[split].shape == (1000, 1, 2)
                correct, seen = counts[split].sum(axis=(0, 1))
                assert correct / seen == run.data.metrics[metric]


def test_the_effective_configuration_is_logged(shared):
    for run in shared.children():
        config = yaml.safe_load(shared.artifact(run, "config.yaml").read_text())
        assert config["train"]["epochs"] == 3
        assert config["seed"] == 0
        assert config["prune"] == float(run.data.params["prune"])


def test_table_and_figure_are_artifacts_of_the_parent(shared):
    (parent,) = shared.parents()
    table = pd.read_csv(shared.artifact(parent, "table.csv"))
    assert sorted(table["prune"]) == [0, 0.1, 0.5, 0.9]
    with Image.open(shared.artifact(parent, "saturation.png")) as picture:
        assert picture.format == "PNG"
    assert parent.data.metrics["n_runs"] == 4
    assert parent.data.metrics["n_failed"] == 0


def test_the_reference_is_trained_once(shared):
    runs = by_point(shared)
    assert runs["reference"].data.tags.get("effbench.cached_steps", "") == ""
    for label in ("prune=0.1", "prune=0.5", "prune=0.9"):
        assert "train" in runs[label].data.tags["effbench.cached_steps"].split(",")


def test_load_runs_gives_what_was_printed_and_logged(shared):
    frame = shared.frame()
    assert len(frame) == 4
    assert frame.attrs["axes"] == ["prune"]
    assert frame.attrs["unfinished"] == []
    assert set(frame["quality_name"]) == {"accuracy"}
    logged = {run.info.run_id: run.data.metrics for run in shared.children()}
    assert not CURVES & set(frame.columns)
    for _, row in frame.iterrows():
        for name, value in logged[row["run_id"]].items():
            assert name in CURVES or row[name] == value
    assert frame.set_index("point").loc["reference", "reference"]
    assert frame["prune"].tolist() == frame["prune"].astype(float).tolist()
    found = effbench.saturation_point(frame, cost="size_bytes")
    (sentence,) = [line for line in shared.finished.stdout.splitlines() if line.startswith("size_bytes:")]
    assert found.point is None or str(found.point["point"]) in sentence
    counts = effbench.load_counts(frame, tracking_uri=shared.uri)
    assert {key: counts.quality_of(key) for key in counts.by_run} == dict(frame[["run_key", "accuracy_val"]].to_numpy())
    test_counts = effbench.load_counts(frame, quality="accuracy", tracking_uri=shared.uri)
    assert saturation_sentence(frame, cost="size_bytes", counts=counts, test_counts=test_counts) == sentence


def test_the_trackings_reader_finds_the_database_from_a_folder_below(shared, monkeypatch):
    below = shared.path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert len(effbench.load_runs()) == 4


@pytest.mark.parametrize("argument", ["prune=0.9,0.1,0.5", "++prune=0.1,0.5,0.9,0.5", "+prune=0,0.9,0.5,0.1"])
def test_plus_signs_order_doubles_and_the_neutral_value_make_no_other_sweep(shared, argument, monkeypatch):
    from effbench.config.read import read_sweep

    (parent,) = shared.parents()
    planned = read_sweep([argument, *shlex.split(shared.asked)[1:]]).plan
    assert planned.sweep_id == parent.data.tags["effbench.sweep"]
    assert len(planned.points) == 4
