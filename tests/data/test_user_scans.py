"""What is known of a Dataset is found out once a process, and not believed of one that was written to since."""

import logging

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from effbench.data import user_scans
from effbench.data.paths import remark
from effbench.data.user_parts import Pairs
from effbench.data.user_scans import scans_of


class Counting(Dataset):
    """Says how often it was read; its content may be moved by `shift`."""

    def __init__(self, n=40):
        self.n, self.reads, self.shift = n, 0, 0

    def __len__(self):
        return self.n

    def __getitem__(self, number):
        self.reads += 1
        return torch.full((1, 4, 4), float(number + self.shift)), number % 2


@pytest.fixture(autouse=True)
def forgetful():
    user_scans._known.clear()
    remark.cache_clear()


def find(*parts, cache="none", root=None, workers=0):
    splits = ("train", "val", "test")[: len(parts)]
    return scans_of(dict(zip(splits, parts, strict=True)), cache=cache, root=root, workers=workers)


def values(images):
    return [int(image.flatten()[0]) for batch in images.batches([torch.arange(images.shape[0])]) for image in batch]


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_images_are_held_as_asked_for_and_read_once_a_process(cache, tmp_path):
    dataset = Counting()
    (found, images), *_ = find(dataset, cache=cache, root=str(tmp_path)).values()
    assert values(images) == list(range(40)) and found.labels.tolist() == [0, 1] * 20
    n_reads = dataset.reads
    assert values(find(dataset, cache=cache, root=str(tmp_path))["train"][1]) == list(range(40))
    # A look at the first example, at 16 of them, and at all where nothing holds them.
    assert dataset.reads - n_reads == 17 + 40 * (cache == "none")


def test_what_is_held_in_memory_is_not_held_twice_nor_for_ever(caplog):
    dataset = Counting()
    with caplog.at_level(logging.WARNING):
        first = find(dataset, cache="memory")["train"][1]
        assert find(dataset, cache="memory")["train"][1] is first
        assert len(caplog.messages) == 1
        del first
        assert find(dataset, cache="memory")["train"][1].images.shape == (40, 1, 4, 4)


def test_what_was_written_to_since_is_read_anew():
    dataset = Counting()
    find(dataset)
    dataset.shift = 5
    assert values(find(dataset, cache="memory")["train"][1])[0] == 5
    images = np.zeros((30, 4, 4), np.uint8)
    pairs = Pairs(images, list(range(30)))
    first = find(pairs)["train"][0]
    images[17, 1, 1] = 1
    second = find(Pairs(images, pairs.labels))["train"][0]
    assert (first.digests != second.digests).any(1).nonzero().tolist() == [[17]]


def test_one_that_is_longer_now_or_another_at_its_address_is_read_anew():
    dataset = Counting()
    find(dataset)
    dataset.n = 41
    assert len(find(dataset)["train"][0].labels) == 41
    for _ in range(14):
        dataset = Counting(3)
        find(dataset)
        assert dataset.reads > 6
    assert len(user_scans._known) <= user_scans._MOST_KNOWN


def test_splits_must_be_alike(tmp_path):
    other = [(torch.zeros(1, 5, 5), 0)]
    with pytest.raises(ValueError, match=r"^data: val example 0 is 1 x 5 x 5 .* train example 0 is 1 x 4 x 4"):
        find(Counting(), other)
    with pytest.raises(ValueError, match=r"^data: test example 0 is 1 x 4 x 4 of uint8"):
        find(Counting(), Counting(), [(torch.zeros(1, 4, 4, dtype=torch.uint8), 0)])


def test_memory_is_said_or_refused_before_it_is_taken(monkeypatch):
    def refuse(what, n_bytes):
        raise ValueError(f"{what}: {n_bytes}")

    dataset = Counting(100)
    monkeypatch.setattr(user_scans, "take_memory", refuse)
    with pytest.raises(ValueError, match=r"^200 images of 1 x 4 x 4: 12800$"):
        find(dataset, Counting(100), cache="memory")
    assert dataset.reads == 1
    monkeypatch.setattr(user_scans, "suited_cache", lambda n_bytes: "none")
    find(dataset, Counting(100), cache=None)
