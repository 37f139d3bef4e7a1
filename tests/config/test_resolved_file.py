"""The file of a run's configuration: what is refused of one that was changed, what is kept out of it."""

import pytest
import yaml
from omegaconf import OmegaConf

from effbench.config.resolved_file import LATER, described, find_resolved, hidden_keys, read_resolved

NODE = {
    **{"task": {"_target_": "a.b"}, "model": {"_target_": "a.net", "text": "${not} a \\${reference}"}},
    **{"data": {"_target_": "a.data"}, "recipe": {}, "train": {"lr": 0.1}, "finetune": {}, "stage": {"prune": {}}},
    **{
        "engine": {"eager": {}},
        "saturation": {},
        "figure": {},
        "measure": {},
        "sweep": {},
        "store": {},
        "tracking": {},
    },
    **{"seed": 0, "coder": "ans", "device": "auto", "tolerance": 0.02, "dry_run": False, "phases": []},
}
CHOSEN = {"task": "classification", "model": "net", "data": "digits"}
HEADER = {"chosen": CHOSEN, "swept": {}, "command": "python -m effbench.sweep model=net"}


def text(header=HEADER, **changes):
    node = {key: value for key, value in {**NODE, **changes}.items() if value is not None}
    return yaml.safe_dump({**node, "prune": 0.5, "effbench": header})


def test_what_was_written_is_read_and_resolves_to_itself():
    file = read_resolved(text(), "config.yaml")
    assert OmegaConf.to_container(OmegaConf.create(dict(file.node)), resolve=True) == {**NODE, "prune": 0.5}
    assert (file.members, file.command) == ({}, HEADER["command"])


@pytest.mark.parametrize("key", LATER)
def test_a_configuration_of_an_earlier_release_has_the_defaults_of_what_came_later(key):
    assert read_resolved(text(**{key: None}), "config.yaml").node[key] == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "mine.yaml, line 1: is no YAML: "),
        ("", "mine.yaml: does not say how to make its run again: it was logged by an earlier effbench"),
        ("prune: 0.5", "mine.yaml: does not say how to make its run again"),
        ("[1, 2]", "mine.yaml: does not say how to make its run again"),
        ("effbench: 3", "mine.yaml: does not say how to make its run again"),
        (text(train=None), "mine.yaml: lacks train; it was changed or cut"),
        (text(seed=None, stage=None), "mine.yaml: lacks stage, seed; it was changed or cut"),
        (text(train=3), "mine.yaml: train must hold keys and values; the file was changed"),
        (text(stage={"prune": [1]}), "mine.yaml: stage.prune must hold keys and values"),
        (text(engine={"eager": None}), "mine.yaml: engine.eager must hold keys and values"),
        (text(model={"width": 3}), "mine.yaml: model._target_ and effbench.chosen.model must be names"),
        (text({**HEADER, "chosen": {}}), "mine.yaml: task._target_ and effbench.chosen.task must be names"),
        (text({**HEADER, "members": {"axis": 3}}), "mine.yaml: effbench.members.axis must hold keys and values"),
        (
            text({**HEADER, "swept": {"train.lr": [1, 2]}}),
            "mine.yaml: is of a sweep over train.lr, of which each value",
        ),
        ("effbench: !!python/object:os.system {}", "mine.yaml, line 1: is no YAML: could not determine a constructor"),
    ],
)
def test_what_was_changed_into_another_file_is_told_in_a_line(content, message):
    with pytest.raises(ValueError) as error:
        read_resolved(content, "mine.yaml")
    assert str(error.value).startswith(message)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_of_defaults_is_none_of_a_run(tmp_path):
    (tmp_path / "mine.yaml").write_text("defaults: [config, _self_]\ntolerance: 0.01\n")
    (tmp_path / "run.yaml").write_text(text())
    assert find_resolved(tmp_path, "mine", "mine.yaml") is None
    assert find_resolved(tmp_path, "other", "other.yaml") is None
    assert find_resolved(tmp_path, "run", "there/run.yaml").name == "there/run.yaml"


def test_secrets_are_left_out_and_known_to_be(monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", "abcdefgh1234")
    options = {"key": ["abcdefgh1234", 3], "uri": "http://me:secret@there", "more": {"text": "x abcdefgh1234"}}
    found = described({"model": options, "engine": 1}, chosen={}, swept={}, members={"axis": {}}).of_run({"bits": 4}, 2)
    assert found["model"] == {"key": ["***", 3], "uri": "http://me:***@there", "more": {"text": "x ***"}}
    assert list(found) == ["bits", "model", "seed", "effbench"]
    assert list(hidden_keys(found)) == ["model.key", "model.uri", "model.more.text"]
