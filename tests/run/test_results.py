"""Results as the store keeps them: whole or not at all."""

import dataclasses

import numpy as np
import pytest

from effbench.plan.chain import Step
from effbench.run.results import RunResult, is_kept, keep_result, load_result, n_kept_steps
from effbench.run.store import Store
from effbench.stages.prune import Prune
from effbench.stages.train import Train


@pytest.fixture
def result():
    rng = np.random.default_rng(0)
    return RunResult(
        metrics={"accuracy": 0.1 + 0.2, "macs": 12.0},
        cached_steps=("train", "prune/1"),
        unknown_operations=("aten.fft",),
        blob=bytes(range(200)),
        counts_val=rng.integers(0, 2, (5, 1, 2)),
        counts_test=rng.integers(0, 300, (7, 3, 2)),
        tables={"sensitivity": [{"layer": "a", "bits": 4, "loss": 0.5, "chosen": True}]},
    )


def test_a_result_comes_back_and_says_that_it_was_kept(tmp_path, result):
    store = Store(tmp_path)
    assert load_result("key", store) is None
    assert not is_kept("key", store)
    keep_result("key", result, store)
    assert is_kept("key", store)
    kept = load_result("key", store)
    assert kept.was_kept and not result.was_kept
    for field in dataclasses.fields(RunResult):
        if field.name.startswith("counts"):
            assert np.array_equal(getattr(kept, field.name), getattr(result, field.name))
        elif field.name != "was_kept":
            assert getattr(kept, field.name) == getattr(result, field.name), field.name


@pytest.mark.parametrize("part", ["json", "effb", "npz"])
def test_a_part_that_is_missing_or_damaged_makes_it_none(tmp_path, result, part, caplog):
    store = Store(tmp_path)
    keep_result("key", result, store)
    path = tmp_path / "entries" / "runs" / f"key.{part}"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert load_result("key", store) is None
    assert "damaged" in caplog.text
    path.unlink()
    assert load_result("key", store) is None
    path.write_bytes(whole)
    assert load_result("key", store) is not None


def test_the_record_is_written_last(tmp_path, result, monkeypatch):
    """So that it is never there without its parts, at whatever moment the process is killed."""
    put, names = Store.put, []
    monkeypatch.setattr(Store, "put", lambda store, name, content: names.append(name) or put(store, name, content))
    keep_result("key", result, Store(tmp_path))
    assert names[-1] == "runs/key.json"
    assert sorted(names) == ["runs/key.effb", "runs/key.json", "runs/key.npz"]


def test_how_many_steps_are_kept(tmp_path, make_chain, toy_network):
    store = Store(tmp_path)
    train, prune = Step("train", Train(epochs=1, lr=0.1)), Step("prune", Prune(ratio=0.5))
    chain = make_chain([train, prune, dataclasses.replace(train, name="finetune")])
    assert n_kept_steps(chain, store) == 0
    store.put_model(chain.prefix_keys[0], toy_network())  # the fresh network is no step
    assert n_kept_steps(chain, store) == 0
    for number in (1, 3):
        store.put_model(chain.prefix_keys[number], toy_network())
        assert n_kept_steps(chain, store) == number
    assert n_kept_steps(make_chain([train, prune]), store) == 1
    assert n_kept_steps(make_chain(()), store) == 0


def keep_json(store, **changes):
    record = {"metrics": {"accuracy": 1}, "cached_steps": [], "unknown_operations": [], "words": {}, "tables": {}}
    store.put_json("runs/key.json", {**record, **changes})


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("json", lambda store: store.put("runs/key.json", b"{")),
        ("json", lambda store: store.put("runs/key.json", b"[]")),
        ("json", lambda store: store.put_json("runs/key.json", {})),  # of another version
        ("json", lambda store: keep_json(store, metrics=3)),
        ("json", lambda store: keep_json(store, tables=None)),
        ("npz", lambda store: store.put("runs/key.npz", b"no counts")),
        ("npz", lambda store: (store.root / "entries/runs/key.npz").unlink()),
        ("effb", lambda store: (store.root / "entries/runs/key.effb").unlink()),
    ],
)
def test_a_part_whose_checksum_is_right_and_that_says_nothing_is_named(tmp_path, result, part, damage, caplog):
    store = Store(tmp_path)
    keep_result("key", result, store)
    damage(store)
    assert load_result("key", store) is None
    (line,) = caplog.messages
    assert f"runs/key.{part}" in line
    assert line.endswith("it is computed again")


def test_a_writer_that_was_killed_before_the_record_is_no_damage(tmp_path, result, caplog):
    store = Store(tmp_path)
    keep_result("key", result, store)
    (tmp_path / "entries" / "runs" / "key.json").unlink()
    assert load_result("key", store) is None
    assert not caplog.messages
