"""A tracked run once more: identical on this machine; else what differs, and what can't be made again, in a line."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

import effbench
from effbench.replay import main
from effbench.run.outcomes import RunError
from effbench.sweep import replay as replaying
from effbench.sweep.replay import compare, plan_replay, read_logged, run_again

pytestmark = [pytest.mark.waiting, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def logged(uri, row):
    return read_logged(row["run_key"][:12], experiment="effbench", tracking_uri=uri)


@pytest.fixture(scope="module")
def again(logged, tmp_path_factory):
    """Return the run that is planned anew, and what came of it."""
    root = tmp_path_factory.mktemp("replayed")
    replay = plan_replay(logged, [f"store.root={root}"])
    return replay, run_again(replay, root)


def test_the_same_machine_gives_the_same_to_the_bit_and_logs_nothing(uri, row, again, tmp_path, capsys, monkeypatch):
    replay, result = again
    assert (replay.point.key, result.was_kept, result.blob) == (row["run_key"], False, replay.logged.blob)
    assert compare(replay, result) == replay.surroundings == []
    monkeypatch.setattr(replaying, "run_again", lambda *_: result)
    before = len(effbench.load_runs(tracking_uri=uri))
    assert main([f"run={row['run_id']}", f"tracking.uri={uri}", f"store.root={tmp_path / 'kept'}"]) == 0
    first, verdict = capsys.readouterr().out.splitlines()
    assert first == f"run {row['run_id']}, key {row['run_key']}: prune=0.9, bits=4, seed=1"
    assert verdict.startswith(f"identical: accuracy {row['accuracy']:g}, every one of 1000 validation and 1000 test")
    assert len(effbench.load_runs(tracking_uri=uri)) == before


def test_a_store_that_is_named_keeps_what_is_computed_and_must_be_new(again, uri, row, tmp_path, capsys):
    replay, _ = again
    assert list(Path(replay.sweep.store.root).rglob("*.effb"))
    (tmp_path / "file").touch()
    assert main([f"run={row['run_id']}", f"tracking.uri={uri}", f"store.root={tmp_path}"]) == 2
    assert "is not empty; a replay computes all anew, so name a new folder" in capsys.readouterr().err


def test_a_dry_run_says_what_would_be_run(uri, row, capsys):
    assert main([f"run={row['run_id']}", f"tracking.uri={uri}", "dry_run=true", "device=cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "would run: train → prune → finetune → quantize; the same key here",
        "of all that was noted of where it was made, nothing is otherwise here",
    ]


def test_a_reference_is_made_as_one(uri):
    frame = effbench.load_runs(tracking_uri=uri)
    reference = frame[frame["reference"]].iloc[0]
    logged = read_logged(reference["run_id"], experiment="effbench", tracking_uri=uri)
    replay = plan_replay(logged, [])
    assert replay.point.key == reference["run_key"] and replay.point.is_reference


class TestDifferences:
    def test_each_is_a_line_and_the_largest_come_first(self, again):
        replay, result = again
        val = replay.logged.counts["validation"].copy()
        val[:7, 0, 0] = 1 - val[:7, 0, 0]
        then = {**replay.logged.metrics, "accuracy": 0.1, "loss": replay.logged.metrics["loss"] + 1e-9}
        then |= {"train_seconds": 1e9, "macs": float("nan")}
        other = dataclasses.replace(
            replay.logged, blob=b"x", key="0" * 20, metrics=then, counts={**replay.logged.counts, "validation": val}
        )
        lines = compare(dataclasses.replace(replay, logged=other), result)
        assert lines[0] == f"run key: {'0' * 20} then, {replay.point.key} now"
        assert lines[1].startswith("file: 1 bytes (sha256 2d711642b726) then, ")
        assert lines[2] == "validation: 7 of 1000 examples are answered otherwise"
        assert [line.partition(":")[0] for line in lines[3:]] == ["macs", "accuracy", "loss"]

    def test_of_many_metrics_the_largest_are_told(self, again):
        replay, result = again
        then = {name: value * 2 for name, value in result.metrics.items()}
        lines = compare(dataclasses.replace(replay, logged=dataclasses.replace(replay.logged, metrics=then)), result)
        assert len(lines) == 6 and lines[-1].endswith("more metrics differ, by less")
        assert not [line for line in lines if "seconds" in line]

    def test_other_examples_are_not_compared_one_by_one(self, again):
        replay, result = again
        counts = {**replay.logged.counts, "test": np.zeros((3, 1, 2), np.int64)}
        lines = compare(dataclasses.replace(replay, logged=dataclasses.replace(replay.logged, counts=counts)), result)
        assert lines == ["test examples: 3 then, 1000 now, or of another kind"]

    def test_a_changed_configuration_is_another_run_and_says_where(self, uri, row, logged, again, capsys, monkeypatch):
        changed = logged.config.replace("epochs: 1\n", "epochs: 2\n")
        environment = {**logged.environment, "versions": {**logged.environment["versions"], "torch": "1.0"}}
        other = dataclasses.replace(logged, config=changed, environment=environment)
        monkeypatch.setattr(replaying, "read_logged", lambda *_, **__: other)
        monkeypatch.setattr(replaying, "run_again", lambda *_: again[1])
        assert main([f"run={row['run_id']}", f"tracking.uri={uri}"]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert lines[1] == "differs:" and lines[2].startswith(f"  run key: {row['run_key']} then, ")
        assert lines[3] == "otherwise here:" and lines[4].startswith("  torch: 1.0 then, ")
        assert lines[5].startswith("  steps of the recipe that are otherwise: 2 finetune")

    def test_a_run_that_fails_says_why(self, uri, row, capsys, monkeypatch):
        monkeypatch.setattr(replaying, "run_again", lambda *_: RunError("ValueError: no luck", "trace"))
        assert main([f"run={row['run_id']}", f"tracking.uri={uri}"]) == 1
        assert capsys.readouterr().out.splitlines()[1] == "failed: ValueError: no luck"


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda text: text.partition("effbench:")[0], "config.yaml of run {run}: does not say how to make its run"),
            (
                lambda text: text[:900].rpartition("\n")[0],
                "config.yaml of run {run}: does not say how to make its run again",
            ),
            (lambda text: f"{text}\n]", "config.yaml of run {run}, line "),
            (lambda text: text.replace("seed: 1", "seed: x"), "seed=x: must be a whole number"),
            (
                lambda text: text.replace("prune: 0.9", "prune: 9"),
                "config.yaml of run {run}: prune=9: must be a number",
            ),
            (
                lambda text: text.replace("prune: 0.9", "prnue: 0.9"),
                "run {run}: prnue: there is no such key; did you mean",
            ),
            (
                lambda text: text.replace("models.lenet_300_100", "models.gone"),
                "run {run}: can't be made again here: model.",
            ),
            (
                lambda text: text.replace("effbench.models.lenet_300_100", "given:Net-0123456789abcdef"),
                "another program",
            ),
            (
                lambda text: text.replace("run_key: ", "run_key: 0"),
                "config.yaml of run {run}: is that of another run (0",
            ),
            (lambda text: text.replace("lr: 0.003", "lr: '***'"), "*** stands for a secret that was left out"),
        ],
    )
    def test_a_configuration_that_can_not_be_made_again(self, logged, change, message):
        changed = change(logged.config)
        assert changed != logged.config
        with pytest.raises(ValueError) as error:
            plan_replay(dataclasses.replace(logged, config=changed), [])
        assert message.format(run=logged.run_id) in str(error.value)
        assert len(str(error.value).splitlines()) == 1

    @pytest.mark.parametrize("name", ["config.yaml", "model.effb", "counts.npz"])
    def test_a_file_that_is_gone_or_damaged(self, swept, row, name, tmp_path, capsys):
        folder = Path(swept._sweep.tracking.uri.removeprefix("sqlite:///")).parent
        shutil.copytree(folder, tmp_path / "copy")
        uri = f"sqlite:///{tmp_path / 'copy' / 'mlflow.db'}"
        (found,) = (tmp_path / "copy" / "mlruns").rglob(f"{row['run_id']}/artifacts/{name}")
        found.write_bytes(b"\xff\xfe")
        if name != "model.effb":
            assert main([f"run={row['run_id']}", f"tracking.uri={uri}"]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert f"its {name} " in line
        found.unlink()
        assert main([f"run={row['run_id']}", f"tracking.uri={uri}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"its {name} can't be read" in line

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["run=zzz"], "run=zzz: experiment effbench has no finished run with that id or key"),
            (["run=a", "tracking.experiment=nope"], "experiment=nope: there is none of that name"),
            (["run={id}", "device=gpu"], "device=gpu: must be auto, cpu"),
        ],
    )
    def test_what_leads_to_no_run(self, uri, row, arguments, message, capsys):
        assert main([*(each.format(id=row["run_id"]) for each in arguments), f"tracking.uri={uri}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
