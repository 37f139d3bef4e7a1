"""Data sets given as objects."""

import inspect
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from effbench.plan.blueprint import Blueprint
from effbench.plan.given_data import give_data
from effbench.plan.sources import fingerprint_of, load_data

pytestmark = pytest.mark.filterwarnings("ignore")


def split(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 6, 6, generator=generator), torch.arange(n) % 2


SPLITS = [split(12, 0), split(6, 1), split(8, 2)]


def given():
    return tuple(TensorDataset(*part) for part in SPLITS)


def test_equal_content_has_one_name_whatever_holds_it():
    by_name = dict(zip(("train", "val", "test"), given(), strict=True))
    names = {give_data(data).rpartition("-")[2] for data in (given(), by_name, SPLITS)}
    assert len(names) == 1
    assert give_data(given()).startswith("given:TensorDataset-") and give_data(SPLITS).startswith("given:arrays-")


def test_another_pixel_is_another_data_set():
    changed = [split(12, 0), split(6, 1), split(8, 2)]
    changed[2][0][7, 0, 5, 5] += 0.01
    assert give_data(changed) != give_data(SPLITS)


def test_a_blueprint_builds_it_with_options():
    blueprint = Blueprint(give_data(given()), {"side": 3})
    data = load_data(blueprint)
    assert (data.side, data.name, data.n_examples("test")) == (3, "TensorDataset", 8)
    assert fingerprint_of(blueprint) != fingerprint_of(Blueprint(blueprint.target))
    assert {"side", "augment", "split_seed"} <= blueprint.parameters
    with pytest.raises(ValueError, match="takes no option 'sied'"):
        Blueprint(blueprint.target, {"sied": 3}).build()


def test_another_process_gets_what_was_built_and_reads_nothing_again():
    blueprint = Blueprint(give_data(given()))
    blueprint.build()
    arrived = pickle.loads(pickle.dumps(blueprint.callable))
    data = arrived()
    batch, labels = next(data.batches("test", side=6, batch_size=8))
    assert torch.equal(labels, SPLITS[2][1]) and torch.allclose(batch, SPLITS[2][0])
    assert "side" in inspect.signature(arrived).parameters


def test_a_data_module_has_its_own_name():
    class Photos:
        def train_dataloader(self):
            return torch.utils.data.DataLoader(given()[0], shuffle=True)

        def val_dataloader(self):
            return torch.utils.data.DataLoader(given()[1])

        def test_dataloader(self):
            return torch.utils.data.DataLoader(given()[2])

    name, _, content = give_data(Photos()).partition("-")
    assert (name, content) == ("given:Photos", give_data(given()).rpartition("-")[2])


def test_pairs_of_arrays_are_data():
    images, labels = np.zeros((6, 4, 4), np.uint8), np.arange(6) % 2
    assert give_data(((images, labels), (images + 1, labels), (images + 2, labels))).startswith("given:arrays-")
