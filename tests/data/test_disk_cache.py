"""Entries on disk: written once, whole or not at all, and again where damaged."""

import json
import logging
import pickle
import shutil
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from effbench.data import disk_cache
from effbench.data.disk_cache import ArrayToStore, DiskEntry
from effbench.data.paths import remark

VALUES = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.arange(5, dtype=np.uint8)}
CALLS = []


def pieces(name):
    CALLS.append(name)
    return np.array_split(VALUES[name], 2)


class Pieces:
    """Picklable, as what gives the content must be."""

    def __init__(self, name):
        self.name = name

    def __call__(self):
        return pieces(self.name)


@pytest.fixture(autouse=True)
def anew():
    CALLS.clear()
    remark.cache_clear()


@pytest.fixture
def entry(tmp_path):
    """Return what plans the same entry anew, as another process would."""

    def plan(key="key"):
        arrays = {name: ArrayToStore(str(array.dtype), array.shape, Pieces(name)) for name, array in VALUES.items()}
        return DiskEntry.planned(str(tmp_path / "root"), key, arrays, what="3 things")

    return plan


def content(entry):
    return {
        name: np.fromfile(path, dtype=entry.arrays[name].dtype).reshape(entry.arrays[name].shape)
        for name, path in entry.paths.items()
    }


def assert_right(entry):
    assert all(np.array_equal(array, VALUES[name]) for name, array in content(entry).items())


def test_nothing_is_written_before_it_is_asked_for_and_then_once(entry, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        first = entry()
    assert caplog.messages == [f"data: 3 things take 53 B of disk, in {tmp_path}/root/key"]
    assert not list(tmp_path.iterdir()) and not first.is_there
    assert_right(first)
    assert first.is_there and CALLS == ["a", "b"]
    assert_right(entry())
    assert_right(pickle.loads(pickle.dumps(first)))
    assert CALLS == ["a", "b"]
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == ["key", "key.lock"]


def flip(path):
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a bit": lambda folder: flip(folder / "a.bin"),
    "cut off": lambda folder: (folder / "a.bin").write_bytes(b"abc"),
    "longer": lambda folder: (folder / "b.bin").write_bytes(bytes(6)),
    "a file is gone": lambda folder: (folder / "b.bin").unlink(),
    "no JSON": lambda folder: (folder / "about.json").write_text("{"),
    "a list": lambda folder: (folder / "about.json").write_text("[1]"),
    "no checksums": lambda folder: (folder / "about.json").write_text("{}"),
    "another version": lambda folder: (folder / "about.json").write_text(
        json.dumps({**json.loads((folder / "about.json").read_text()), "version": 0})
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_named_and_written_again(entry, damage, caplog):
    folder = entry().paths["a"].parent
    DAMAGES[damage](folder)
    with caplog.at_level(logging.WARNING):
        assert_right(entry())
    assert caplog.messages[-1] == f"{folder} is damaged: it is written again"
    assert CALLS == ["a", "b"] * 2


@pytest.mark.parametrize("left", ["cleared", "killed", "a file"])
def test_what_is_not_whole_is_in_nobodys_way(entry, tmp_path, left):
    place = tmp_path / "root" / {"cleared": "key", "killed": ".key.part", "a file": "key"}[left]
    place.parent.mkdir()
    place.write_text("in the way") if left == "a file" else place.mkdir()
    if left == "killed":
        (place / "a.bin").write_bytes(b"half")
    assert_right(entry())
    assert not (tmp_path / "root" / ".key.part").exists()


def test_processes_that_want_the_same_at_once_write_it_once(entry):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(assert_right, [entry() for _ in range(4)]))
    assert sorted(CALLS) == ["a", "b"]


def test_an_error_of_what_is_written_goes_on_and_leaves_nothing(tmp_path):
    def broken():
        yield np.zeros(1)
        raise ZeroDivisionError

    entry = DiskEntry(tmp_path / "key", {"a": ArrayToStore("uint8", (2,), broken)})
    with pytest.raises(ZeroDivisionError):
        _ = entry.paths
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


def test_a_disk_that_is_full_is_said_in_a_line_before_and_while_it_is_written(entry, tmp_path, monkeypatch):
    planned = entry()

    def full(path, array):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk_cache, "_write_array", full)
        with pytest.raises(ValueError, match=r"root: can't be written \(No space left on device\); make room, name"):
            _ = planned.paths
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["key.lock"]
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(52))
    with pytest.raises(
        ValueError, match=r"^data\.cache=disk: data\.cache_root=.*: 53 B are needed, and 52 B are free; "
    ):
        entry()


def test_a_folder_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    arrays = {"a": ArrayToStore("uint8", (1,), lambda: [np.zeros(1)])}
    with pytest.raises(ValueError, match=r"^data\.cache=disk: data\.cache_root=.*file/x: can't be written \("):
        _ = DiskEntry.planned(str(tmp_path / "file" / "x"), "key", arrays, what="one").paths


def test_the_default_is_beside_what_else_is_kept_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = DiskEntry.planned(None, "key", {"a": ArrayToStore("uint8", (1,), lambda: [np.zeros(1)])}, what="one")
    assert entry.folder == tmp_path / ".effbench" / "data" / "key"
