"""The finished command once more: where there is nothing to tell, it says so and goes the long way."""

import json

import pytest

from effbench.sweep.again import VERSION, _entry, answer_again, refers_outside

ARGUMENTS = ["+prune=0.5"]


@pytest.fixture
def here(store, monkeypatch):
    monkeypatch.chdir(store.root.parent)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return [*ARGUMENTS, f"store.root={store.root}"]


def test_where_nothing_is_kept_there_is_no_answer(here, capsys):
    assert not answer_again(ARGUMENTS)
    assert not answer_again(here)
    assert not answer_again(["store.root="])
    assert not answer_again(["store.root=\0"])
    assert not answer_again(["store.root=~nobody-of-that-name/store"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"state": 1, "uri": null}',
        b'{"state": {}, "uri": 3}',
        json.dumps({"version": VERSION, "state": {}, "uri": None, "database": "x"}).encode(),
    ],
)
def test_what_is_kept_and_makes_no_sense_is_none(here, store, content, capsys):
    store.put(_entry(here), content)
    assert not answer_again(here)
    assert capsys.readouterr().out == ""


def test_a_damaged_one_is_none(here, store):
    store.put(_entry(here), b"{}")
    path = store.root / "entries" / _entry(here)
    path.write_bytes(path.read_bytes()[:-1])
    assert not answer_again(here)


def test_each_command_has_its_own():
    assert len({_entry(arguments) for arguments in (["a", "b"], ["b", "a"], ["a b"], ["a"], [])}) == 5


@pytest.mark.parametrize(
    ("arguments", "files", "outside"),
    [
        (["prune=0.5"], {}, False),
        (["finetune.lr=${train.lr}"], {"mine.yaml": "a: ${train.lr}"}, False),
        (["data.root=${oc.env:HOME}/x"], {}, True),
        (["prune=${ mine : 3 }"], {}, True),
        (["+imports=mine"], {}, True),
        ([], {"mine.yaml": "a: ${oc.env:HOME}"}, True),
        ([], {"mine.yaml": "b: 3\nimports: mine"}, True),
        ([], {"experiment/deep/a.yaml": "a: ${oc.env:HOME}"}, True),
        ([], {"data/a.yaml": "a: ${oc.env:HOME}"}, True),
        ([], {"data/photos/deep.yaml": "a: ${oc.env:HOME}", ".git/a.yaml": "a: ${b:c}"}, False),
    ],
)
def test_what_a_resolver_or_a_module_gives_is_known_to_nobody(tmp_path, arguments, files, outside):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert refers_outside(arguments, [str(tmp_path)]) is outside
