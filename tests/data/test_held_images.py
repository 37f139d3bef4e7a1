"""Images in memory, on disk and nowhere: the same ones, by any number of processes."""

import os
import pickle

import pytest
import torch

from effbench.data import held_images
from effbench.data.held_images import InMemory, OnDisk, Rows, Streamed, in_order, n_processors, read_each

IMAGES = torch.arange(10 * 2 * 3 * 3, dtype=torch.float32).view(10, 2, 3, 3)
BATCHES = [torch.tensor([3, 1]), torch.tensor([9]), torch.tensor([1, 0, 4]), torch.tensor([5])]


def read(numbers):
    return IMAGES[numbers]


def read_but_seven(numbers):
    if 7 in numbers.tolist():
        raise ValueError("image 7 is gone")
    return IMAGES[numbers]


def held(kind, root):
    if kind == "memory":
        return InMemory(IMAGES)
    streamed = Streamed(read, tuple(IMAGES.shape), workers=2 * (kind == "workers"))
    return OnDisk.planned(str(root), "key", {"train": streamed}, "float32")["train"] if kind == "disk" else streamed


@pytest.mark.parametrize("kind", ["memory", "disk", "none", "workers"])
def test_batches_are_those_asked_for(kind, tmp_path):
    images = held(kind, tmp_path)
    assert images.shape == (10, 2, 3, 3)
    for one in (images, pickle.loads(pickle.dumps(images))):
        found = list(one.batches(BATCHES))
        assert all(torch.equal(batch, IMAGES[numbers]) for batch, numbers in zip(found, BATCHES, strict=True))
    some = Rows(images, torch.tensor([8, 2, 5]))
    assert some.shape == (3, 2, 3, 3)
    assert torch.equal(next(some.batches([torch.tensor([2, 0])])), IMAGES[[5, 8]])
    assert torch.equal(torch.cat(list(in_order(images))), IMAGES)


def test_on_disk_nothing_is_written_for_a_look_and_pickling_takes_no_pixels(tmp_path):
    images = held("disk", tmp_path)
    assert images.as_planned is images.source
    assert not (tmp_path / "key").exists()
    list(images.batches(BATCHES))
    assert images.as_planned is images
    assert len(pickle.dumps(images)) < 1000


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_ends_it_in_one_line_whoever_reads(workers):
    batches = read_each(read_but_seven, [torch.tensor([k]) for k in (1, 7, 2, 3)], workers=workers)
    assert torch.equal(next(batches), IMAGES[[1]])
    with pytest.raises(ValueError) as refused:
        next(batches)
    assert str(refused.value) == "image 7 is gone"


@pytest.mark.parametrize(("n_batches", "n_workers"), [(1, 0), (3, 1), (4, 2), (100, 2)])
def test_no_more_processes_are_begun_than_have_something_to_do(n_batches, n_workers, monkeypatch):
    begun = []
    monkeypatch.setattr(held_images, "n_processors", lambda: 64)
    monkeypatch.setattr(held_images, "DataLoader", lambda *_, num_workers, **options: begun.append(num_workers) or [])
    list(read_each(read, [torch.tensor([0])] * n_batches, workers=2))
    assert begun == [n_workers]


def test_reading_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    list(read_each(read, BATCHES, workers=0))
    assert torch.equal(before, torch.get_rng_state())


def test_processors_are_those_that_this_process_may_use():
    assert 1 <= n_processors() <= (os.cpu_count() or 1)
