"""Another task, the whole way: scenes, a small segmenter, a file, MLflow, an interval, an answer in its own points."""

import numpy as np
import pytest

import effbench

TINY = "data.n_train=64 data.n_val=24 data.n_test=20 data.side=32 model.channels=[4,4,8,8] model.n_poolings=2"
QUICK = "train.epochs=2 finetune.epochs=1 train.batch_size=8 measure.seconds=0.02 measure.disturbed=keep sweep.jobs=1"


@pytest.fixture(scope="module")
def swept(tmp_path_factory, at):
    folder = at(tmp_path_factory.mktemp("segmentation"))
    return folder, folder.run(f"task=segmentation +out_rho=0.5 +prune=0,0.5 {TINY} {QUICK} tolerance=0.9")


def test_it_is_trained_compressed_measured_and_answered_in_its_own_quality(swept):
    _, done = swept
    assert (done.returncode, done.stderr) == (0, "")
    assert "miou" in done.stdout
    assert "mIoU points" in done.stdout or "learned nothing" in done.stdout


def test_its_runs_say_what_their_quality_is(swept):
    folder, _ = swept
    runs = effbench.load_runs(tracking_uri=folder.uri)
    assert set(runs["quality_name"]) == {"miou"}
    assert set(runs["quality_kind"]) == {"mean_of_ratios"}
    assert set(runs["quality_direction"]) == {"higher"}
    assert runs.attrs["extra_qualities"] == ["boundary_iou"]
    assert runs[["miou", "miou_val", "boundary_iou", "boundary_iou_val"]].notna().all(axis=None)
    halves = runs[runs["out_rho"] == 0.5]
    assert (halves["macs"] < runs[runs["reference"]]["macs"].item()).all()


def test_its_quality_follows_from_the_counts_of_its_examples(swept):
    folder, _ = swept
    runs = effbench.load_runs(tracking_uri=folder.uri)
    counts = effbench.load_counts(runs, tracking_uri=folder.uri)
    for key, quality in zip(runs["run_key"], runs["miou_val"], strict=True):
        sums = counts.by_run[key].sum(0)
        there = sums[:, 1] > 0
        assert np.mean(sums[there, 0] / sums[there, 1]) == pytest.approx(quality, abs=1e-9)
    with pytest.raises(ValueError, match="quality=accuracy: counts are known of miou_val and of miou"):
        effbench.load_counts(runs, quality="accuracy", tracking_uri=folder.uri)


@pytest.mark.waiting
def test_a_student_learns_from_a_teacher_pixel_by_pixel_and_layers_have_values_of_their_own(swept):
    folder, _ = swept
    done = folder.run(f"task=segmentation +distill=0.5 +bits=4 stage.quantize.layers={{enc*:8}} {TINY} {QUICK}")
    assert (done.returncode, done.stderr) == (0, "")
    told = {run.data.tags["effbench.point"]: run for run in folder.children("FINISHED")}
    assert told["distill=0.5"].data.tags["effbench.control"] == "true"
    taught = told["distill=0.5, bits=4"]
    assert "effbench.control" not in taught.data.tags
    layers = folder.frame(columns="stage.quantize.layers").set_index("run_id")["stage.quantize.layers.enc*"]
    assert layers[taught.info.run_id] == 8


def test_networks_and_data_of_other_tasks_are_refused_by_name(swept):
    folder, _ = swept
    for arguments, message in {
        "task=segmentation model=lenet_5 +prune=0.5": "model=lenet_5: is for task=classification, not for",
        "data=scenes +prune=0.5": "data=scenes: is for task=segmentation, not for task=classification, which can take",
        "task=detection": "task=detection: there is no such choice",
    }.items():
        done = folder.run(arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
