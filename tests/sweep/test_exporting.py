"""A tracked run as an engine's file: verified by another process, its card, its digest; what is refused."""

import dataclasses
import hashlib
import json

import pytest
import torch

import effbench
from effbench.export import main
from effbench.measure.engine import find_engine
from effbench.run.through_engine import ThroughEngine
from effbench.sweep import exporting
from effbench.sweep.exporting import export_run, lines_of, run_at_saturation
from effbench.sweep.measuring_again import FILE_OF
from effbench.tracking.additions import tags_of

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def uri(own_uri):
    return own_uri


@pytest.fixture(scope="module")
def exported(uri, row, tmp_path_factory):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'effbench[onnx]'")
    out = tmp_path_factory.mktemp("exported") / "a" / "b"
    return export_run(str(row["run_id"]), "onnxruntime", out, tracking_uri=uri)


def test_the_file_does_what_the_runs_network_does(exported, row, uri):
    network = effbench.load_model(row, tracking_uri=uri)
    images = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    prepared = find_engine("onnxruntime").load(exported.path, images, threads=1)
    with torch.no_grad():
        torch.testing.assert_close(prepared.outputs(images), network(images), rtol=1e-4, atol=1e-4)


def test_the_card_says_what_it_takes_and_how_good_it_is(exported, row):
    card = json.loads(exported.path.with_name(f"{exported.path.name}.json").read_text())
    assert card == exported.card
    assert card["sha256"] == hashlib.sha256(exported.path.read_bytes()).hexdigest()
    assert card["bytes"] == exported.path.stat().st_size > card["download_bytes"] > 0
    assert card["quality_on_the_engine"]["accuracy"] == pytest.approx(row["accuracy"])
    assert (card["agreement_with_pytorch"], card["test_examples"]) == (1.0, 1000)
    assert card["input"].startswith("float32 (N, 1, 28, 28): normalised images")
    assert exported.path.name == card["file"] and card["file"] in card["benchmark"]
    first, second, *_ = lines_of(exported)
    assert first.startswith(str(exported.path)) and f"accuracy {row['accuracy']:.4g}" in second


def test_the_run_knows_the_files_digest(exported, row, uri):
    tags = tags_of([row["run_id"]], FILE_OF, tracking_uri=uri)
    assert tags == {row["run_id"]: {"onnxruntime": exported.card["sha256"]}}


@pytest.mark.extended
def test_what_is_not_the_runs_network_is_not_put_there(uri, row, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    wrong = ThroughEngine(qualities={"accuracy": 0.1}, agreement=0.1, max_difference=9.0, disagreeing=())
    monkeypatch.setattr(exporting, "call_apart", lambda *_: wrong)
    arguments = [f"run={row['run_id']}", f"tracking.uri={uri}", f"out={tmp_path / 'out'}"]
    assert main(arguments) == 1
    assert "the file was written, but is not the run's network: its accuracy is 0.1" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.extended
def test_the_saturation_point_of_a_sweep_is_its_first_seed(uri, swept, monkeypatch):
    where = {"experiment": "effbench", "tracking_uri": uri}
    with pytest.raises(ValueError, match=r"has no saturation point: not reached: .*; give run= instead"):
        run_at_saturation(swept.sweep_id, cost="size_bytes", **where)
    runs = effbench.load_runs(sweep=swept.sweep_id, tracking_uri=uri)
    runs.loc[runs["point"] == "prune=0.9, bits=4", "accuracy_val"] = 0.1  # one step too far
    monkeypatch.setattr(exporting, "load_runs", lambda *_, **__: runs)
    run_id = run_at_saturation(swept.sweep_id, cost="size_bytes", **where)
    chosen = runs[runs["run_id"] == run_id].iloc[0]
    assert chosen["point"] == effbench.saturation_point(runs, cost="size_bytes").point["point"]
    assert chosen["seed"] == runs["seed"].min()


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": "eager"}, "engine=eager: runs networks without a file of its own"),
        ({"engine": "onnxruntime,openvino"}, "engine=onnxruntime,openvino: must be one engine"),
        ({"engine": "onnx"}, "engine=onnx: there is no such choice"),
        ({"run": "zzz"}, "run=zzz: experiment effbench has no finished run"),
        ({"out": "file"}, "out=file: must be a folder"),
        ({"engine.onnxruntime.optimization": "9"}, "engine.onnxruntime.optimization=9: must be"),
    ],
)
def test_wrong_input_is_told_in_a_line(uri, row, tmp_path, monkeypatch, capsys, change, message):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    given = {"run": row["run_id"], "engine": "onnxruntime", "tracking.uri": uri, "out": "new", **change}
    assert main([f"{key}={value}" for key, value in given.items()]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and not (tmp_path / "new").exists()


def test_notes_of_what_the_file_lacks_are_told(exported):
    noted = dataclasses.replace(exported, notes=("computed in floats: conv1",))
    assert "computed in floats: conv1" in lines_of(noted)
