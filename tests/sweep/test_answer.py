"""The end of a sweep: what is printed, what is left on the parent run."""

import dataclasses
import io

import pandas as pd
import pytest
from PIL import Image

from effbench.analysis import answers, answers_png, saturation_point
from effbench.config.read import read_sweep
from effbench.run.outcomes import RunError
from effbench.sweep.answer import give_answer
from effbench.sweep.carry_out import SweepOutcome


@pytest.mark.extended
def test_table_answer_and_figure_are_printed_and_logged(outcome_of, store, make_tracker, capsys):
    sweep, outcome = outcome_of("prune=0.1,0.5,0.9")
    tracker = make_tracker()
    give_answer(sweep, outcome, store, tracker)
    out = capsys.readouterr().out
    frame = outcome.frame
    for cost in ("size_bytes", "macs_effective"):
        point = saturation_point(frame, cost=cost).point["point"]
        (sentence,) = [line for line in out.splitlines() if line.startswith(f"{cost}:")]
        assert point in sentence
    ((status, metrics, files),) = tracker.closed
    assert status == "FINISHED"
    assert (metrics["n_runs"], metrics["n_failed"]) == (4, 0)
    assert metrics["saturation/size_bytes"] == saturation_point(frame, cost="size_bytes").point["size_bytes"]
    assert metrics["saturation_accuracy_val/size_bytes"] == pytest.approx(0.89)
    table = pd.read_csv(io.BytesIO(files["table.csv"]))
    assert list(table["prune"]) == [0.0, 0.1, 0.5, 0.9]
    folder = store.root / "sweeps" / sweep.plan.sweep_id
    assert (folder / "table.csv").read_bytes() == files["table.csv"]
    assert (folder / "saturation.png").read_bytes() == files["saturation.png"]
    assert "figure: " in out
    assert f"mlflow ui --backend-store-uri sqlite:///{store.root / 'there.db'}" in out


@pytest.mark.extended
def test_the_parents_note_holds_the_answer_and_its_tags_what_was_asked(outcome_of, store, make_tracker, capsys):
    sweep, outcome = outcome_of("prune=0.1,0.5,0.9", "tolerance=0.5")
    tracker = make_tracker()
    give_answer(sweep, outcome, store, tracker)
    out = capsys.readouterr().out
    command, *lines, table = tracker.tags["mlflow.note.content"].split("\n\n")
    assert table.startswith("| prune | ") and len(table.splitlines()) == 2 + 4
    assert command == f"`{sweep.command}`"
    assert len(lines) >= 2
    assert all(line in out for line in lines)
    assert tracker.tags["effbench.tolerance"] == "0.5"
    assert tracker.tags["effbench.measure.seconds"] == "1.0"


@pytest.mark.extended
def test_a_failure_is_said_and_ends_the_sweep_as_failed(outcome_of, store, make_tracker, capsys):
    sweep, outcome = outcome_of("prune=0.5,0.9", outcomes={"prune=0.5": RunError("ValueError: bad", "trace")})
    tracker = make_tracker()
    give_answer(sweep, outcome, store, tracker)
    out = capsys.readouterr().out
    assert "failed: prune=0.5, seed=0: ValueError: bad" in out
    ((status, metrics, files),) = tracker.closed
    assert status == "FAILED"
    assert metrics["n_failed"] == 1
    assert "table.csv" in files


def test_where_every_run_failed_there_is_no_table(outcome_of, store, make_tracker, capsys):
    error = RunError("ValueError: bad", "trace")
    sweep, outcome = outcome_of("prune=0.5", outcomes={"prune=0.5": error, "reference": error})
    tracker = make_tracker()
    give_answer(sweep, outcome, store, tracker)
    ((status, _, files),) = tracker.closed
    assert (status, list(files)) == ("FAILED", ["report.html", "config.yaml"])


@pytest.mark.extended
def test_a_reference_alone_is_a_row_and_no_answer(outcome_of, store, make_tracker, capsys):
    sweep, outcome = outcome_of()
    tracker = make_tracker()
    give_answer(sweep, outcome, store, tracker)
    out = capsys.readouterr().out
    assert "no cost varies over these runs: there is one point; sweep an axis, as in +prune=0.1,0.5,0.9" in out
    ((_, metrics, files),) = tracker.closed
    assert set(files) == {"table.csv", "report.html", "config.yaml"}
    assert metrics == {"n_runs": 1, "n_failed": 0}


@pytest.mark.extended
def test_swept_keys_are_columns_of_the_table(outcome_of, store, make_tracker, capsys):
    sweep, outcome = outcome_of("prune=0.5", "coder=huffman,ans")
    tracker = make_tracker()
    give_answer(sweep, outcome, store, tracker)
    ((_, _, files),) = tracker.closed
    assert list(pd.read_csv(io.BytesIO(files["table.csv"])).columns[:2]) == ["prune", "coder"]


@pytest.mark.extended
def test_every_cost_that_varies_has_a_sentence(outcome_of):
    _, outcome = outcome_of("prune=0.5,0.9")
    said = answers(outcome.frame, tolerance=0.02, counts=outcome.counts)
    assert [line.sentence.partition(":")[0] for line in said] == ["size_bytes", "macs_effective"]
    assert isinstance(outcome, SweepOutcome)


@pytest.mark.extended
def test_each_network_has_its_answers_its_metrics_and_its_row_of_panels(outcome_of, store, make_tracker, capsys):
    sweep, outcome = outcome_of("prune=0.1,0.5", "model=lenet_5,small_cnn")
    tracker = make_tracker()
    give_answer(sweep, outcome, store, tracker)
    lines = capsys.readouterr().out.splitlines()
    for network in ("lenet_5", "small_cnn"):
        told = [line.partition(":")[0] for line in lines if line.startswith(f"model={network}, ")]
        assert told == [f"model={network}, size_bytes", f"model={network}, macs_effective"]
    ((_, metrics, files),) = tracker.closed
    assert {"saturation/size_bytes/lenet_5", "saturation/size_bytes/small_cnn"} <= set(metrics)
    with Image.open(io.BytesIO(files["saturation.png"])) as picture:
        assert picture.width == 2160 and picture.height > 1500
    assert list(pd.read_csv(io.BytesIO(files["table.csv"]))["model"]) == ["lenet_5"] * 3 + ["small_cnn"] * 3
    begin = [number for number, line in enumerate(lines) if line.split()[:2] in (["lenet_5", "0"], ["small_cnn", "0"])]
    assert len(begin) == 2 and lines[begin[1] - 1] == ""
    assert "model=small_cnn, size_bytes: " in tracker.tags["mlflow.note.content"]


@pytest.mark.extended
def test_networks_alone_are_compared_with_each_other(outcome_of, store, make_tracker, capsys, result_of):
    command = "model=lenet_5,small_cnn"
    smaller = result_of(read_sweep([command]).plan.points[0], size_bytes=500.0)
    sweep, outcome = outcome_of(command, outcomes={"model=lenet_5, reference": smaller})
    give_answer(sweep, outcome, store, make_tracker())
    out = capsys.readouterr().out
    assert "(no reference): " in out
    assert "on the front of " in out


@pytest.mark.extended
def test_where_networks_ran_at_different_sides_these_are_a_column(outcome_of, store, make_tracker, capsys):
    give_answer(*outcome_of("model=alexnet,squeezenet1_1", "data.side=32", "train.epochs=0"), store, make_tracker())
    header, *rows = capsys.readouterr().out.splitlines()[1:5]
    assert header.split()[:2] == ["model", "side"]
    assert [row.split()[:2] for row in rows if row.strip()] == [["alexnet", "63"], ["squeezenet1_1", "32"]]


@pytest.mark.extended
def test_on_which_share_of_the_weights_a_technique_acted_is_said_where_that_is_not_all(
    outcome_of, store, make_tracker, capsys, result_of
):
    layers = "stage.prune.layers={features.conv1: skip}"
    (_, point) = read_sweep(["prune=0.5", layers]).plan.points
    acted = dataclasses.replace(
        result_of(point, **{"acted_share/prune": 0.312}), words={"left/prune": "features.conv1"}
    )
    sweep, outcome = outcome_of("prune=0.5", layers, outcomes={"prune=0.5": acted})
    give_answer(sweep, outcome, store, make_tracker())
    out = capsys.readouterr().out
    assert "prune=0.5: prune acted on 31 % of the weights; left: features.conv1\n" in out


@pytest.mark.extended
def test_the_figure_has_a_panel_for_each_cost(outcome_of):
    _, outcome = outcome_of("prune=0.1,0.5,0.9")
    found = answers(outcome.frame)
    one, two = (Image.open(io.BytesIO(answers_png(found[:n]))) for n in (1, 2))
    assert one.format == "PNG"
    assert two.width == 2 * one.width


@pytest.mark.extended
def test_the_printout_holds_what_a_program_reads(outcome_of, store, make_tracker):
    sweep, outcome = outcome_of("prune=0.1,0.5,0.9")
    printout, _ = give_answer(sweep, outcome, store, make_tracker(), shows=False)
    record = printout.record
    assert len(record["runs"]) == 4 and record["runs"][0]["run_key"] == sweep.plan.points[0].key
    assert [answer["cost"] for answer in record["answers"]] == ["size_bytes", "macs_effective"]
    assert record["answers"][0]["interval_95"] is not None and printout.command == sweep.command
