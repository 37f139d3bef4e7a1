"""Entries by key: whole or not at all, checked on every read, made by one process at a time."""

import logging
import os
import subprocess
import sys
import threading
import time

import pytest
import safetensors.torch
import torch
from torch import nn

from effbench.compression.constraints.described import describe
from effbench.compression.layers import weight_layers
from effbench.run.store import Store
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def files(store):
    return [path for path in (store.root / "entries").rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"\0", b"some bytes", bytes(range(256)) * 500])
def test_what_is_put_is_got(store, content):
    assert store.get("runs/a.bin") is None
    assert not store.has("runs/a.bin")
    store.put("runs/a.bin", content)
    assert store.has("runs/a.bin")
    assert store.get("runs/a.bin") == content
    assert Store(store.root).get("runs/a.bin") == content


def test_a_later_entry_replaces_an_earlier_one(store):
    for content in (b"long and first", b"second"):
        store.put("a", content)
    assert store.get("a") == b"second"
    assert len(files(store)) == 1


def test_json(store):
    content = {"accuracy": 0.1 + 0.2, "steps": ["train", "prune"], "none": None, "text": "α ≤ 1"}
    store.put_json("a", content)
    assert store.get_json("a") == content
    assert store.get_json("b") is None


def test_a_writer_that_dies_halfway_leaves_nothing_to_read(store, monkeypatch):
    store.put("a", b"whole")

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    for name in ("a", "b"):
        with pytest.raises(KeyboardInterrupt):
            store.put(name, b"never finished")
    assert store.get("a") == b"whole"
    assert store.get("b") is None
    assert len(files(store)) == 1


def test_the_part_file_of_a_killed_writer_is_no_entry(store):
    store.put("models/a", b"whole")
    (store.root / "entries" / "models" / ".abc.part").write_bytes(b"half")
    assert store.get("models/a") == b"whole"
    assert not store.has_model("b")


def test_what_killed_writers_left_is_deleted_and_what_writers_are_at_is_not(store):
    store.put("models/a", b"whole")
    old, new = (store.root / "entries" / "models" / f".{name}.part" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.clear_unfinished()
    assert not old.exists()
    assert new.exists()
    assert store.get("models/a") == b"whole"


def test_damage_of_any_byte_is_noticed(store, caplog):
    store.put("a", b"forty bytes are enough for a test of them")
    (path,) = files(store)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with caplog.at_level(logging.WARNING):
            assert store.get("a") is None
        assert caplog.messages[-1].startswith(f"{path} is damaged")
    assert len(caplog.messages) == len(whole)
    for length in (0, 5, 32, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert store.get("a") is None
    path.write_bytes(whole + b"\0")
    assert store.get("a") is None
    store.put("a", b"made again")
    assert store.get("a") == b"made again"


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"store\.root=.*: can't be written \(.*\); name another folder"):
            Store(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match=r"store\.root=.*: can't be written"):
        Store(tmp_path / "store")


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight

    def forward(self, inputs):
        return self.second(torch.relu(self.first(inputs)))


TECHNIQUES = {
    "plain": [],
    "pruned": [Prune(ratio=0.5)],
    "quantised": [Quantize(bits=3, scheme="affine")],
    "pruned and quantised": [Prune(ratio=0.7), Quantize(bits=1, granularity="tensor")],
}


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("tied", [False, True], ids=["", "tied"])
def test_a_network_comes_back_bit_by_bit(store, toy_data, toy_network, make_context, technique, tied):
    network, fresh = (Tied(0), Tied(1)) if tied else (toy_network(0), toy_network(1))
    inputs = torch.randn(3, 16) if tied else torch.randn(3, 1, 8, 8)
    for stage in TECHNIQUES[technique]:
        network = stage.apply(network, make_context(toy_data))
    network.eval()
    store.put_model("key", network)
    assert store.has_model("key")
    kept = store.get_model("key", fresh)
    assert not kept.training
    assert describe(kept) == describe(network)
    assert kept.state_dict().keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        other = kept.state_dict()[name]
        assert other.dtype == tensor.dtype
        assert torch.equal(other, tensor)
    for (_, one), (_, other) in zip(weight_layers(network), weight_layers(kept), strict=True):
        assert torch.equal(one.weight, other.weight)
    with torch.no_grad():
        assert torch.equal(network(inputs), kept(inputs))
    assert len(list(kept.parameters())) == len(list(network.parameters()))


def test_keeping_a_network_leaves_it_alone_and_keeps_a_copy(store, toy_network):
    network = toy_network()
    store.put_model("key", network)
    expected = network[5].weight.detach().clone()
    with torch.no_grad():
        network[5].weight.zero_()
    assert torch.equal(store.get_model("key", toy_network(1))[5].weight, expected)


def test_a_damaged_network_counts_as_none(store, toy_network, caplog):
    assert store.get_model("key", toy_network()) is None
    store.put_model("key", toy_network())
    (path,) = files(store)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    assert store.get_model("key", toy_network()) is None
    assert "is damaged" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no tensors",
        safetensors.torch.save({"0.weight": torch.zeros(2)}),
        safetensors.torch.save({"0.weight": torch.zeros(2)}, {"effbench.edits": "{}", "effbench.constraints": "[]"}),
        safetensors.torch.save({}, {"effbench.edits": "[3]", "effbench.constraints": "?"}),
    ],
    ids=["empty", "foreign", "without edits", "of another network", "edits that are none"],
)
def test_an_entry_that_fits_no_network_counts_as_none(store, toy_network, content, caplog):
    """As of another version, or of another network: a right checksum does not make it one."""
    store.put("models/key", content)
    store.put("tensors/key", content)
    assert store.get_model("key", toy_network()) is None
    assert torch.equal(store.keep_tensor("key", lambda: torch.ones(1)), torch.ones(1))
    assert [message.endswith("it is computed again") for message in caplog.messages] == [True, True]
    assert torch.equal(store.keep_tensor("key", lambda: torch.zeros(1)), torch.ones(1))


def test_what_was_found_on_the_way_comes_back_with_the_network(store, toy_network):
    found = {"metrics": {"a": 0.1}, "words": {"α": "β"}}
    store.put_model("key", toy_network(), found)
    assert store.get_model_with_findings("key", toy_network(1))[1] == found
    store.put_model("plain", toy_network())
    assert store.get_model_with_findings("plain", toy_network(1))[1] is None


@pytest.mark.parametrize("content", [b"[1]x", b"3", b"null"])
def test_what_is_no_json_object_counts_as_none(store, content, caplog):
    store.put("a.json", content)
    assert store.get_json("a.json") is None
    assert "no JSON object" in caplog.text


COUNT_UP = """
import sys, time
from pathlib import Path
from effbench.run.store import Store
store, counter, started = Store(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
started.touch()
for _ in range(30):
    with store.lock("key"):
        value = int(counter.read_text())
        time.sleep(0.003)
        counter.write_text(str(value + 1))
    time.sleep(0.002)
"""


@pytest.mark.extended
def test_a_lock_lets_one_process_at_a_time_in(store, tmp_path):
    counter, started = tmp_path / "counter", tmp_path / "started"
    counter.write_text("0")
    other = subprocess.Popen([sys.executable, "-c", COUNT_UP, str(store.root), str(counter), str(started)])
    deadline = time.monotonic() + 60
    while not started.exists():  # so that both count at the same time
        assert other.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    for _ in range(30):
        with store.lock("key"):
            value = int(counter.read_text())
            time.sleep(0.003)
            counter.write_text(str(value + 1))
        time.sleep(0.002)
    assert other.wait(timeout=60) == 0
    assert counter.read_text() == "60"


def test_locks_of_different_keys_do_not_wait_for_each_other(store):
    with store.lock("one"), store.lock("other"):
        pass


def test_a_lock_is_given_back_after_an_error(store):
    with pytest.raises(RuntimeError), store.lock("key"):
        raise RuntimeError
    with store.lock("key"):
        pass


def test_a_tensor_is_made_once_and_is_the_same_afterwards(store):
    made = []

    def make():
        made.append(1)
        return torch.arange(6.0).reshape(2, 3).t().requires_grad_()

    first, again = (store.keep_tensor("name", make) for _ in range(2))
    assert made == [1]
    assert torch.equal(first, again)
    assert not first.requires_grad
    assert first.is_contiguous()
    assert torch.equal(Store(store.root).keep_tensor("name", make), first)


def test_whoever_waits_for_a_lock_is_told(store):
    told = []
    with store.lock("key", waiting=lambda: told.append("free")):
        assert told == []
    other = Store(store.root)
    with store.lock("key"):
        held = threading.Thread(target=lambda: wait_for(other, told))
        held.start()
        while not told:
            time.sleep(0.005)
    held.join(timeout=60)
    assert told == ["waiting", "entered"]


def test_a_wait_is_told_when_it_begins_and_when_it_ends(store):
    told = []
    waiter = Store(store.root, on_wait=told.append)
    with waiter.lock("key"):
        assert told == []
    with store.lock("key"):
        held = threading.Thread(target=lambda: wait_for(waiter, told))
        held.start()
        while len(told) < 2:
            time.sleep(0.005)
    held.join(timeout=60)
    assert told == ["waiting", True, False, "entered"]


def wait_for(store, told):
    with store.lock("key", waiting=lambda: told.append("waiting")):
        told.append("entered")


def test_looking_at_a_store_that_is_not_there_makes_none(tmp_path):
    store = Store(tmp_path / "none", read_only=True)
    assert not store.has_model("key")
    assert store.get_json("runs/a.json") is None
    assert not store.root.exists()


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_entries_have_the_rights_that_the_umask_gives(tmp_path, umask):
    before = os.umask(umask)
    try:
        shared = Store(tmp_path / "shared")
        shared.put("runs/a.json", b"x")
        with shared.lock("a"):
            pass
    finally:
        os.umask(before)
    made = list((tmp_path / "shared").rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o666 & ~umask}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o777 & ~umask}
