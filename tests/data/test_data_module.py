"""A DataModule and DataLoaders, taken for the Datasets in them, without Lightning."""

import logging
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset, SubsetRandomSampler, TensorDataset, WeightedRandomSampler, random_split

from effbench.data.data_module import dataset_of, is_data_module, parts_of_module
from effbench.data.paths import remark
from effbench.data.random_states import are_equal, global_states

WHOLE = TensorDataset(torch.arange(20.0).view(20, 1, 1, 1), torch.arange(20) % 2)


class MisconfigurationException(Exception):  # noqa: N818 (Lightning's own name)
    pass


class Module:
    """As people write them."""

    def __init__(self, batch_size=4):
        self.calls = []

    def prepare_data(self):
        self.calls.append("prepare_data")

    def setup(self, stage):
        self.calls.append(stage)
        if stage == "fit":
            self.train, self.val = random_split(WHOLE, [15, 5])
        if stage == "test":
            self.test = WHOLE

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=4, shuffle=True, drop_last=True)

    def val_dataloader(self):
        return DataLoader(self.val)

    def test_dataloader(self):
        return [DataLoader(self.test)]


def numbers(dataset):
    return [int(dataset[i][0]) for i in range(len(dataset))]


def test_it_is_prepared_set_up_and_split_the_same_by_a_seed():
    before = global_states()
    first, again, other = (parts_of_module(Module(), seed=seed) for seed in (0, 0, 1))
    assert are_equal(before, global_states())
    assert list(first) == ["train", "val", "test"] and first["test"] is WHOLE
    assert numbers(first["train"]) == numbers(again["train"]) != numbers(other["train"])
    module = Module()
    parts_of_module(module, seed=0)
    assert module.calls == ["prepare_data", "fit", "test"]
    assert is_data_module(module) and is_data_module(Module) and not is_data_module(WHOLE)


def test_whatever_generator_a_split_is_drawn_from():
    class Drawn(Module):
        def setup(self):
            self.train = self.val = self.test = Subset(WHOLE, [random.randrange(20), np.random.randint(20)])

    first, again = (numbers(parts_of_module(Drawn(), seed=3)["train"]) for _ in range(2))
    assert first == again


def raising(error):
    def method(self, *stage):
        raise error

    return method


@pytest.mark.parametrize("absent", [None, raising(NotImplementedError()), raising(MisconfigurationException("none"))])
def test_validation_may_be_missing_the_others_not(absent):
    assert "val" not in parts_of_module(type("M", (Module,), {"val_dataloader": absent})(), seed=0)
    with pytest.raises(ValueError, match=r"^data: M has no test_dataloader; a sweep needs train and test"):
        parts_of_module(type("M", (Module,), {"test_dataloader": absent})(), seed=0)
    with pytest.raises(ValueError, match=r"^data: M has no train_dataloader"):
        parts_of_module(type("M", (Module,), {"train_dataloader": lambda self: None})(), seed=0)


def test_a_class_is_made_first_and_what_that_raises_is_told():
    assert list(parts_of_module(Module, seed=0)) == ["train", "val", "test"]
    with pytest.raises(ValueError, match=r"^data: M\(\) fails: KeyError: 'root'$"):
        parts_of_module(type("M", (Module,), {"__init__": raising(KeyError("root"))}), seed=0)


@pytest.mark.parametrize("method", ["prepare_data", "setup", "train_dataloader"])
def test_what_a_method_raises_is_told_in_a_line(method):
    module = type("M", (Module,), {method: raising(KeyError("root"))})()
    with pytest.raises(ValueError, match=rf"^data: M\.{method} fails: KeyError: 'root'$"):
        parts_of_module(module, seed=0)


def said(caplog, part):
    remark.cache_clear()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = dataset_of(part, "train")
    return found, caplog.messages


def test_a_sampler_of_some_examples_is_a_subset(caplog):
    for shuffle in (False, True):
        assert said(caplog, DataLoader(WHOLE, shuffle=shuffle)) == (WHOLE, [])
    found, lines = said(caplog, DataLoader(WHOLE, sampler=SubsetRandomSampler([5, 2, 9])))
    assert (numbers(found), lines) == ([2, 5, 9], [])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"sampler": WeightedRandomSampler([1.0] * 20, 20)}, "WeightedRandomSampler is not asked"),
        ({"sampler": torch.utils.data.RandomSampler(WHOLE, num_samples=7)}, "RandomSampler is not asked"),
        ({"sampler": torch.utils.data.RandomSampler(WHOLE, replacement=True)}, "RandomSampler is not asked"),
        ({"collate_fn": list}, "collate_fn is not called"),
    ],
)
def test_what_is_not_taken_over_is_said(caplog, options, line):
    found, lines = said(caplog, DataLoader(WHOLE, **options))
    assert found is WHOLE
    assert len(lines) == 1 and line in lines[0]


def test_several_loaders_of_a_split_are_refused():
    loaders = [DataLoader(WHOLE), DataLoader(WHOLE)]
    for several in (loaders, dict(enumerate(loaders))):
        with pytest.raises(ValueError, match=r"^data: val has 2 DataLoaders; must be one"):
            dataset_of(several, "val")
    assert dataset_of({"a": loaders[0]}, "val") is WHOLE
    assert dataset_of(WHOLE, "val") is WHOLE
