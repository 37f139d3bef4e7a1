"""A tracked sweep measured again: its runs get what was found under the machine's name; what a phone printed, too."""

import json
from importlib.metadata import version

import pandas as pd
import pytest

import effbench
from effbench.latency import main
from effbench.sweep.measuring_again import FILE_OF, machine_suffix, measure_again, note_export, read_again
from effbench.tracking.additions import tags_of
from effbench.tracking.parents import read_sweep_parent

pytestmark = [pytest.mark.waiting, pytest.mark.filterwarnings("ignore")]
LITERT = "Inference timings in us: Init: 561, First inference: 9120, Warmup (avg): 4300, Inference (avg): 4250.5"
EXECUTORCH = "I 00:00 executor_runner: Model executed successfully 200 time(s) in 900.0 ms."
ONNX = "Session creation time cost: 0.1 s\nAverage inference time cost total: 3.5 ms\n"


@pytest.fixture(scope="module")
def uri(own_uri):
    return own_uri


@pytest.fixture(scope="module")
def again(swept, uri):
    given = ["measure.seconds=0.02", "measure.disturbed=keep"]
    return measure_again(swept.sweep_id, "eager", machine="pi5", overrides=given, tracking_uri=uri)


def test_every_run_has_its_times_and_speedup_under_the_machines_name(again, swept, uri):
    runs = effbench.load_runs(sweep=swept.sweep_id, tracking_uri=uri)
    assert (runs["latency_ms/eager:pi5"] > 0).all() and len(runs) == len(again.frame)
    assert (runs.loc[runs["reference"], "speedup/eager:pi5"] == 1).all()
    assert (runs["speedup_low/eager:pi5"] <= runs["speedup/eager:pi5"]).all()
    assert not again.unmeasured
    assert (runs["latency_ms/eager"] != runs["latency_ms/eager:pi5"]).any()  # what was there stays
    answer = effbench.saturation_point(runs, cost="latency_ms/eager:pi5")
    assert answer.reason


def test_the_runs_say_what_timed_them_there(again, swept, uri):
    runs = effbench.load_runs(sweep=swept.sweep_id, tracking_uri=uri)["run_id"]
    for tags in tags_of(runs, "effbench.engine/", tracking_uri=uri).values():
        assert tags["eager:pi5"] == tags["eager"] == f"torch {version('torch')}"


def test_all_samples_are_files_of_the_parent(again, swept, uri):
    from mlflow.tracking import MlflowClient

    parent = read_sweep_parent(swept.sweep_id, experiment="effbench", tracking_uri=uri)
    client = MlflowClient(uri)
    (found,) = client.list_artifacts(parent.run_id, "latency/pi5")
    assert found.path == "latency/pi5/eager.csv.gz"
    samples = pd.read_csv(client.download_artifacts(parent.run_id, found.path))
    assert set(effbench.load_runs(sweep=swept.sweep_id, tracking_uri=uri)["run_key"]) <= set(samples["run_key"])
    assert samples["round"].nunique() >= 10 and (samples["latency_ms"] > 0).all()


def test_where_the_parent_is_gone_the_runs_have_their_times_all_the_same(swept, uri, monkeypatch):
    def gone(sweep, **where):
        raise ValueError(f"sweep={sweep}: its parent run is gone")

    monkeypatch.setattr("effbench.sweep.measuring_again.read_sweep_parent", gone)
    given = ["measure.seconds=0.02", "measure.disturbed=keep"]
    found = measure_again(swept.sweep_id, "eager", machine="alone", overrides=given, tracking_uri=uri)
    assert (found.frame["latency_ms/eager:alone"] > 0).all() and not found.unmeasured
    assert found.notes[-1].startswith("the single times of the passes are not kept: sweep=")


@pytest.mark.parametrize(("output", "milliseconds"), [(LITERT, 4.2505), (EXECUTORCH, 4.5), (ONNX, 3.5)])
def test_what_a_benchmark_printed_finds_its_run_by_the_files_digest(swept, uri, tmp_path, output, milliseconds):
    run_id = str(effbench.load_runs(sweep=swept.sweep_id, tracking_uri=uri)["run_id"].iloc[1])
    (tmp_path / "network.pte").write_bytes(b"a file")
    note_export(run_id, "executorch", tmp_path / "network.pte", tracking_uri=uri)
    digest = tags_of([run_id], FILE_OF, tracking_uri=uri)[run_id]["executorch"]
    entries = [{"sha256": digest, "output": output}, {"sha256": digest, "output": output, "threads": 4}]
    (tmp_path / "phone.json").write_text(json.dumps(entries))
    read_again(swept.sweep_id, tmp_path / "phone.json", machine="pixel-8", tracking_uri=uri)
    runs = effbench.load_runs(sweep=swept.sweep_id, tracking_uri=uri).set_index("run_id")
    for name in ("latency_ms/executorch:pixel-8", "latency_ms/executorch.t4:pixel-8"):
        assert runs[name].dropna().to_dict() == {run_id: pytest.approx(milliseconds)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "must hold entries such as"),
        ("[3]", "must hold entries such as"),
        ('{"sha256": "abc", "output": ""}', "entry 1: no exported file of sweep"),
        (None, "can't be read"),
    ],
)
def test_a_file_that_tells_nothing_is_refused_in_a_line(swept, uri, tmp_path, capsys, content, message):
    file = tmp_path / "phone.json"
    if content is not None:
        file.write_text(content)
    arguments = [f"sweep={swept.sweep_id}", f"read={file}", "machine=phone", f"tracking.uri={uri}"]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_an_output_without_a_time_is_refused(swept, uri, tmp_path):
    run_id = str(effbench.load_runs(sweep=swept.sweep_id, tracking_uri=uri)["run_id"].iloc[0])
    (tmp_path / "network.tflite").write_bytes(b"another file")
    note_export(run_id, "litert", tmp_path / "network.tflite", tracking_uri=uri)
    digest = tags_of([run_id], FILE_OF, tracking_uri=uri)[run_id]["litert"]
    (tmp_path / "phone.json").write_text(json.dumps({"sha256": digest, "output": "segmentation fault"}))
    with pytest.raises(ValueError, match="entry 1: its output tells no time"):
        read_again(swept.sweep_id, tmp_path / "phone.json", machine="phone", tracking_uri=uri)


@pytest.mark.parametrize("name", ["", "my phone", "a/b", "x" * 41, "a:b", ".", ".."])
def test_a_machines_name_is_part_of_a_metrics(name):
    with pytest.raises(ValueError, match="must be a name of letters"):
        machine_suffix(name)
    assert machine_suffix("pixel-8.pro") == ":pixel-8.pro"
