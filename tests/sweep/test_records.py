"""What is logged of a run: its params, what it was made of, how real its savings are, its tables and figures."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from effbench.config.read import read_sweep
from effbench.measure.compute import count_cost
from effbench.run.counts import unpack_counts
from effbench.run.one import run_point
from effbench.run.outcomes import RunError
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.run.times import Times
from effbench.sweep.params import asked_of_the_sweep, sweep_params
from effbench.sweep.records import (
    describe_run,
    extra_qualities,
    quality_columns,
    table_files,
)
from effbench.tracking import names

CPU = torch.device("cpu")
TINY = ["model.channels=[4,4]", "data.side=8", "train.epochs=1", "finetune.epochs=1", "train.fraction=0.3"]


@pytest.fixture(scope="module")
def sweep():
    return read_sweep([*TINY, "bits_budget=4,3", "coder=none,huffman"])


def test_a_plain_table_is_a_csv():
    files = table_files({"other": [{"a": 1, "b": 0.5}, {"a": 2, "b": 1.5}]})
    assert files == {"other.csv": b"a,b\n1,0.5\n2,1.5\n"}


def test_a_table_that_is_drawn_is_so_in_each_format():
    rows = [{"layer": "a", "weights": 4, "bits": n, "loss_increase": 1 / n, "chosen": n == 4} for n in (8, 4)]
    files = table_files({"sensitivity": rows}, ("svg", "pdf"))
    assert sorted(files) == ["sensitivity.csv", "sensitivity.pdf", "sensitivity.svg"]
    assert table_files({"sensitivity": rows}).keys() == {"sensitivity.csv", "sensitivity.png"}
    of_inputs = [{"activations": row["weights"], **row} for row in rows]
    assert table_files({"act_sensitivity": of_inputs}).keys() == {"act_sensitivity.csv", "act_sensitivity.png"}


@pytest.mark.extended
def test_a_run_has_its_sensitivities_whoever_measured_them(tmp_path, sweep, monkeypatch):
    monkeypatch.setattr("effbench.run.making.WORTH_KEEPING_SECONDS", 0.0)
    store = Store(tmp_path)
    points = {(point.axes["bits_budget"], point.coder): point for point in sweep.plan.points}
    first = run_point(points[4, "none"], store, device=CPU)
    second = run_point(points[4, "huffman"], store, device=CPU)
    assert "bits_budget" in second.cached_steps
    assert first.tables["sensitivity"] == second.tables["sensitivity"]
    assert load_result(points[4, "none"].key, store).tables == first.tables
    other = run_point(points[3, "none"], store, device=CPU)
    chosen = {
        budget: [row["bits"] for row in r.tables["sensitivity"] if row["chosen"]]
        for budget, r in ((4, first), (3, other))
    }
    assert sum(chosen[3]) < sum(chosen[4])
    columns = ("layer", "bits", "loss_increase")
    measured = [[[row[name] for name in columns] for row in r.tables["sensitivity"]] for r in (first, other)]
    assert measured[0] == measured[1]


@pytest.mark.extended
def test_tables_and_figures_are_files_of_the_run(tmp_path, sweep):
    point = next(point for point in sweep.plan.points if not point.is_reference)
    files = describe_run(point, sweep, result=run_point(point, Store(tmp_path), device=CPU)).files
    frame = pd.read_csv(io.BytesIO(files["sensitivity.csv"]))
    assert list(frame.columns) == ["layer", "weights", "bits", "loss_increase", "accuracy_val", "chosen"]
    assert len(frame) == 3 * 5
    assert frame.chosen.sum() == 3
    assert min(Image.open(io.BytesIO(files["sensitivity.png"])).size) > 200
    reference = next(point for point in sweep.plan.points if point.is_reference)
    plain = describe_run(reference, sweep, result=run_point(reference, Store(tmp_path), device=CPU)).files
    assert not [name for name in plain if "sensitivity" in name]


def test_how_real_a_saving_is_goes_by_the_least_real_technique():
    both = read_sweep(["+prune=0.5", "+bits=4", "+rho=0.5"])
    point = both.plan.points[-1]
    tags = describe_run(point, both).tags
    assert {k.rpartition("/")[2]: v for k, v in tags.items() if k.startswith(names.REALISED)} == {
        "bytes": "executed",
        "macs": "simulated",
        "latency": "simulated",
    }
    reference = describe_run(both.plan.points[0], both)
    assert not [tag for tag in reference.tags if tag.startswith(names.REALISED)]
    assert (reference.params["prune"], reference.params["bits"], reference.params["rho"]) == (0, 32, 1)
    assert set(sweep_params(both)).isdisjoint({"prune", "bits", "rho", "side"})


@pytest.fixture(scope="module")
def planned():
    return read_sweep(["+prune=0,0.5", "alpha=0.5,2", "model.kernel=3,5", "stage.prune.criterion=random"])


class TestRecord:
    def test_each_axis_is_a_tag_that_can_be_searched(self, planned):
        point = planned.plan.points[-1]
        tags = describe_run(point, planned).tags
        assert {name: text for name, text in tags.items() if name.startswith(names.AXIS)} == {
            "effbench.axis.prune": "0.5",
            "effbench.axis.alpha": "2.0",
        }

    def test_a_run_has_the_times_at_which_it_was_computed(self, planned, result_of):
        point = planned.plan.points[0]
        times = Times(began=1000.0, ended=1003.5)
        done = describe_run(point, planned, result=dataclasses.replace(result_of(point), times=times))
        failed = describe_run(point, planned, error=RunError("x", "trace", times=times))
        assert [(record.began, record.ended) for record in (done, failed)] == [(1000.0, 1003.5)] * 2
        unknown = [describe_run(point, planned, result=result_of(point)), describe_run(point, planned)]
        assert [(record.began, record.ended) for record in unknown] == [(None, None)] * 2

    def test_what_came_to_no_number_is_marked(self, planned, result_of):
        point = planned.plan.points[0]
        odd = result_of(point, loss=float("nan"), calibration_error=float("inf"))
        record = describe_run(point, planned, result=odd)
        assert record.tags[names.NOT_FINITE] == "loss=nan,calibration_error=inf"
        assert names.NOT_FINITE not in describe_run(point, planned, result=result_of(point)).tags

    def test_a_result_brings_its_file_its_counts_and_what_was_not_counted(self, planned, result_of):
        point = planned.plan.points[0]
        result = dataclasses.replace(result_of(point), unknown_operations=("aten.fft", "aten.cdist"))
        record = describe_run(point, planned, result=result)
        assert record.files["model.effb"] == b"file"
        val, test = unpack_counts(record.files[names.COUNTS])
        assert np.array_equal(val, result.counts_val) and np.array_equal(test, result.counts_test)
        assert record.tags[names.CACHED] == "train"
        assert record.tags[names.UNKNOWN] == "aten.fft,aten.cdist"
        assert record.metrics == result.metrics
        assert yaml.safe_load(record.files["config.yaml"])["model"]["_target_"] == "effbench.models.small_cnn"

    def test_tags_say_where_it_stands_and_what_its_quality_is(self, planned):
        reference, *_, point = planned.plan.points
        tags = describe_run(point, planned).tags
        assert tags[names.POINT] == point.label
        assert tags[names.REFERENCE] == point.reference_key
        assert tags[names.STEPS] == "train → prune → finetune"
        assert tags[names.AXES] == "prune,alpha"
        assert (tags["quality_name"], tags["quality_direction"]) == ("accuracy", "higher")
        assert describe_run(reference, planned).tags[names.REFERENCE] == reference.key

    def test_the_data_set_is_described_with_its_splits(self, planned):
        dataset = describe_run(planned.plan.points[0], planned).dataset
        assert (dataset.name, dict(dataset.sizes)) == ("digits", {"train": 3000, "val": 1000, "test": 1000})
        assert dataset.source == "effbench.data.digits.digits"
        assert dataset.digest == planned.plan.points[0].chain.fingerprint

    def test_values_on_both_sides_of_the_neutral_one_are_savings_of_the_same_kind(self, planned):
        realised = {
            point.axes["alpha"]: describe_run(point, planned).tags.get(f"{names.REALISED}/latency")
            for point in planned.plan.points
            if point.axes["prune"] == 0
        }
        assert realised == {1.0: None, 0.5: "removed", 2.0: "removed"}

    @pytest.mark.matrix(fast=1)
    @pytest.mark.parametrize(
        ("metrics", "realised"),
        [
            ({}, {"bytes": "executed", "macs": "masked", "latency": "masked"}),
            # dead units went, too
            ({"macs": 0.8, "params": 0.8}, {"bytes": "executed", "macs": "removed", "latency": "removed"}),
            # the rounds ended before the first
            ({"prune_reached": 0.0}, {}),
        ],
    )
    def test_how_real_a_saving_is_follows_from_what_was_done(self, result_of, metrics, realised):
        sweep = read_sweep(["prune=0.5"])
        reference, point = sweep.plan.points
        cost = count_cost(reference.chain.fresh_network(), reference.input_size)
        whole = {"macs": cost.macs, "macs_effective": cost.macs_effective, "params": cost.params}
        scaled = {name: whole[name] * share for name, share in metrics.items() if name in whole}
        others = {name: value for name, value in metrics.items() if name not in whole}
        result = result_of(point, **{**whole, **scaled, **others})
        tags = describe_run(point, sweep, result=result).tags
        found = {name: how for name, how in tags.items() if name.startswith(names.REALISED)}
        assert found == {f"{names.REALISED}/{cost}": how for cost, how in realised.items()}

    def test_a_saving_is_told_from_what_its_reference_came_to(self, result_of):
        sweep = read_sweep(["prune=0.5"])
        point = sweep.plan.points[1]
        result = result_of(point)
        same, larger = result.metrics, {**result.metrics, "macs": 2 * result.metrics["macs"]}
        found = [
            describe_run(point, sweep, result=result, reference=reference).tags[f"{names.REALISED}/macs"]
            for reference in (same, larger)
        ]
        assert found == ["masked", "removed"]

    def test_the_quality_is_that_of_the_task_on_the_data(self, planned):
        point = planned.plan.points[0]
        columns = quality_columns(point)
        assert set(columns) == set(names.QUALITY_COLUMNS)
        assert columns["quality_kind"] == "ratio"
        assert extra_qualities(point) == ("accuracy_top5",)


def test_no_password_is_in_what_is_logged():
    secret = "hunter2hunter2"
    uri = f"tracking.uri=postgresql://me:{secret}@there/db?password={secret}x"
    sweep = read_sweep([*TINY, "prune=0.5", uri, "data.split_seed=1"])
    error = RunError(f"can't reach http://me:{secret}@there\nmore", f"Traceback\n  http://me:{secret}@there \udcff")
    record = describe_run(sweep.plan.points[0], sweep, error=error)
    assert asked_of_the_sweep(sweep)["effbench.tracking.uri"] == "postgresql://me:***@there/db?password=***"
    assert record.files["traceback.txt"].endswith(b"http://me:***@there \\udcff")
    logged = [
        sweep.command,
        str(sweep_params(sweep)),
        str(asked_of_the_sweep(sweep)),
        str(record.params),
        str(record.tags),
        str(record.files),
    ]
    assert not [text for text in logged if secret in text]
    assert sweep.tracking.uri == uri.partition("=")[2]
