"""Checkpoints of trainings in a store: when they are written, and when not; those that can't be gone on from."""

import errno
import itertools
import logging

import pytest
import torch

from effbench.run import checkpoints
from effbench.run.checkpoints import Checkpoints, delete_checkpoints, drop_checkpoints, has_checkpoint
from effbench.run.entry import entry_path
from effbench.run.packing import pack
from effbench.run.store import Store

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(checkpoints, "_said", set())


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def of(store, now):
    """Return what gives the checkpoints of a training, whose clock a test moves on."""

    def make(seconds=60.0, part=0, device=CPU):
        return Checkpoints(store, f"checkpoints/key-{part}", device, seconds, clock=lambda: now[0])

    return make


def test_they_are_as_far_apart_as_asked(of, now):
    training, made = of(), []
    for now[0] in (0, 59, 60, 61, 119, 120, 500):
        training.offer(lambda: made.append(now[0]) or {"at": now[0]})
    assert made == [60, 120, 500]
    assert of().read()["at"] == 500


def test_writing_takes_at_most_a_share_of_the_time(of, now):
    training, made = of(seconds=10.0), []

    def slow():
        made.append(now[0])
        now[0] += 5
        return {}

    for _ in range(300):
        now[0] += 1
        training.offer(slow)
    assert made[0] == 10
    assert all(later - earlier >= 5 + 5 / checkpoints.MOST_SHARE for earlier, later in itertools.pairwise(made))


def test_none_are_none_and_zero_is_each(of, now, store):
    of(seconds=None).offer(lambda: pytest.fail("made"))
    assert not has_checkpoint("key", store)
    of(seconds=0).offer(lambda: {"at": 1})
    assert of(seconds=0).read()["at"] == 1
    assert of(seconds=None).read() is None


@pytest.mark.parametrize(
    "content",
    [
        b"?",
        pack({"version": 1, "device": "cuda"}),
        pack({"version": 0, "device": "cpu"}),
        pack({"device": "cpu"}),
        pack([1]),
    ],
)
def test_one_that_can_not_be_gone_on_from_is_said_and_counts_as_none(of, store, content, caplog):
    store.put("checkpoints/key-0", content)
    assert of().read() is None
    assert "can't be used" in caplog.text and "computed again" in caplog.text


def test_a_damaged_one_is_said_and_counts_as_none(of, store, now, caplog):
    now[0] = 0
    of(seconds=0).offer(lambda: {"at": 1})
    path = entry_path(store.root, "checkpoints/key-0")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert of().read() is None
    assert "damaged" in caplog.text


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("out of memory")])
def test_where_it_can_not_be_written_that_is_said_once_and_the_old_one_stays(of, store, monkeypatch, error, caplog):
    of(seconds=0).offer(lambda: {"at": 1})

    def full(*_):
        raise error

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(Store, "put", full)
        for _ in range(3):
            of(seconds=0).offer(lambda: {"at": 2})
    assert len(caplog.records) == 1
    assert str(error.args[-1]) in caplog.text and "the training goes on" in caplog.text
    assert of().read()["at"] == 1


def test_what_can_not_be_packed_is_said(of, caplog):
    of(seconds=0).offer(lambda: {"odd": object()})
    assert "a object can't be kept" in caplog.text


def test_those_of_a_step_go_together_unless_it_is_being_made(of, store):
    for part in (0, 1):
        of(seconds=0, part=part).offer(lambda: {})
    Checkpoints(store, "checkpoints/key2-0", CPU, 0).offer(lambda: {})
    with store.lock("key"):
        drop_checkpoints("key", store)
        assert has_checkpoint("key", store)
        delete_checkpoints("key", store)
    assert not has_checkpoint("key", store)
    drop_checkpoints("key2", store)
    assert not has_checkpoint("key2", store)
