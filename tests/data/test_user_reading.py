"""Every example is read twice, in one order and in others: what changes is refused, however rarely it does."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from effbench.data import user_reading
from effbench.data.random_states import are_equal, global_states
from effbench.data.user_reading import Scan, Source, chunk_size, first_example, scan

IMAGES = torch.arange(120 * 4 * 4, dtype=torch.float32).view(120, 1, 4, 4)


class Images(Dataset):
    """Images, changed by a function of the image and its number."""

    def __init__(self, change=lambda image, number: image, n=120):
        self.change, self.n, self.read = change, n, []

    def __len__(self):
        return self.n

    def __getitem__(self, number):
        self.read.append(number)
        return self.change(IMAGES[number], number), number % 3


def own_generator(p):
    generator = np.random.default_rng()
    return lambda image, _: image.flip(-1) if generator.random() < p else image


def counted():
    calls = iter(range(10**6))
    return lambda image, _: image + 1000 * (next(calls) >= 200)


RANDOM = {
    "torch": lambda image, _: image.flip(-1) if torch.rand(()) < 0.5 else image,
    "torch, rarely": lambda image, _: image.flip(-1) if torch.rand(()) < 0.004 else image,
    "numpy, rarely": lambda image, _: image.flip(-1) if np.random.rand() < 0.004 else image,
    "python, rarely": lambda image, _: image.flip(-1) if random.random() < 0.004 else image,
    "one of many": lambda image, number: image + torch.rand(()) if number == 77 else image,
    "own generator": own_generator(0.5),
    "own generator, rarely": own_generator(0.05),
    "how often it was read": counted(),
}


@pytest.mark.parametrize("name", RANDOM)
def test_what_gives_other_images_is_refused_with_its_number(name):
    source = first_example(Images(RANDOM[name]), "test")
    with pytest.raises(ValueError, match=r"^data: test example \d+ is not the same on every read; .* train\.augment"):
        scan(source, workers=0)


def test_a_random_label_is_refused_too():
    class Labels(Images):
        def __getitem__(self, number):
            return IMAGES[number], random.randrange(9)

    with pytest.raises(ValueError, match="is not the same on every read"):
        scan(first_example(Labels(), "val"), workers=0)


FIXED = {
    "seeded by the number": lambda image, number: image + 0 * (np.random.seed(number) or np.random.rand()),
    "draws for nothing": lambda image, _: image + 0 * torch.rand(()),
    "flips never": lambda image, _: image.flip(-1) if torch.rand(()) < 0.0 else image,
    "one buffer": lambda image, _, kept=torch.empty(1, 4, 4): kept.copy_(image),  # noqa: B008
}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("name", FIXED)
def test_what_gives_the_same_is_read_and_global_states_are_left_alone(name):
    before = global_states()
    found = scan(first_example(Images(FIXED[name]), "train"), workers=0)
    again = torch.cat([found.images(numbers) for numbers in torch.split(torch.arange(120), 7)])
    assert are_equal(before, global_states())
    assert torch.equal(again, IMAGES)


def test_two_reads_of_everything_and_more_of_few_examples():
    dataset = Images(n=120)
    kept = torch.empty(120, 1, 4, 4)
    found = scan(first_example(dataset, "train"), workers=0, keep=kept.__setitem__)
    assert torch.equal(kept, IMAGES)
    assert found.labels.tolist() == [number % 3 for number in range(120)]
    reads = dataset.read[1:]
    assert len(reads) == 5 * 120 and reads[:120] == list(range(120)) != reads[120:240]
    assert sorted(reads[120:240]) == list(range(120))


@pytest.mark.extended
def test_other_processes_read_the_same_and_once_where_they_were_told_to(monkeypatch):
    source = first_example(Images(), "train")
    one, two = (scan(source, workers=workers) for workers in (0, 2))
    assert torch.equal(one.digests, two.digests) and torch.equal(one.labels, two.labels)
    with pytest.raises(ValueError, match=r"^data: train example \d+ is not the same"):
        scan(first_example(Images(RANDOM["torch"]), "train"), workers=2)
    dataset = Images()
    monkeypatch.setattr(user_reading.multiprocessing, "parent_process", lambda: object())
    scan(first_example(dataset, "train"), workers=0)
    assert dataset.read[1:] == list(range(120))


def raising(error):
    def change(image, number):
        if number == 7:
            raise error
        return image

    return change


def at_seven(value):
    return lambda image, number: value if number == 7 else image


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (raising(KeyError("x")), r"can't be read: KeyError: 'x' \(test_user_reading\.py, line \d+\)$"),
        (raising(SystemExit(3)), "can't be read: SystemExit: 3"),
        (raising(ValueError("two\nlines")), "can't be read: ValueError: two"),
        (
            at_seven(torch.zeros(1, 5, 5)),
            "is 1 x 5 x 5 of float32 with one class, train example 0 is 1 x 4 x 4 of float32",
        ),
        (at_seven(torch.zeros(3, 4, 4)), "is 3 x 4 x 4 of float32 with one class"),
        (at_seven(np.zeros((4, 4), np.uint8)), "is 1 x 4 x 4 of uint8"),
        (at_seven(torch.full((1, 4, 4), torch.nan)), "has values that are not finite"),
        (at_seven(np.full((4, 4), 1e60)), "has values that are not finite"),
        (at_seven("cat.png"), "has a str for an image"),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_an_example_that_can_not_be_used_is_named(change, said, workers):
    source = first_example(Images(change, n=9), "val")
    with pytest.raises(ValueError, match=rf"^data: val example 7 {said}") as refused:
        scan(source, workers=workers)
    assert len(str(refused.value).splitlines()) == 1


def test_a_label_for_each_pixel_is_not_mixed_with_classes():
    examples = [(IMAGES[0], 1), (IMAGES[1], IMAGES[1, 0].long() % 3)]
    with pytest.raises(ValueError, match=r"example 1 is 1 x 4 x 4 of float32 with 4 x 4 classes, train example 0 is"):
        scan(first_example(examples, "train"), workers=0)


def test_maps_of_classes_take_a_byte_a_pixel_where_that_is_enough():
    for highest, dtype in ((255, torch.uint8), (256, torch.int64)):
        maps = [torch.zeros(4, 4, dtype=torch.int64), torch.full((4, 4), highest)]
        found = scan(first_example(list(zip(IMAGES[:2], maps, strict=True)), "train"), workers=0)
        assert found.labels.dtype == dtype and torch.equal(found.labels.long(), torch.stack(maps))


def test_an_example_that_changed_since_is_named_when_it_is_read_again():
    examples = [[IMAGES[k].clone(), k] for k in range(6)]
    found = scan(first_example(examples, "train"), workers=0)
    examples[4][0][0, 0, 0] += 1
    found.images(torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="train example 4 is not the same"):
        found.images(torch.tensor([5, 4]))


def test_large_images_are_read_few_at_a_time():
    for shape, n in (((1, 4, 4), 64), ((3, 1024, 1024), 1), ((3, 224, 224), 13)):
        source = Source([], "train", (shape, torch.float32, ()))
        assert chunk_size(source) == n
    assert Scan(source, torch.zeros(5), torch.zeros(5, 16)).shape == (5, 3, 224, 224)
