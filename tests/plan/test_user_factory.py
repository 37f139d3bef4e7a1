"""What a user's factory gives, taken as data: options go to whom they are for, and nothing is random."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset, random_split

from effbench.data.digits import digits
from effbench.data.held_data import HeldData
from effbench.data.in_memory import InMemoryData
from effbench.data.random_states import are_equal, global_states
from effbench.plan.blueprint import Blueprint
from effbench.plan.sources import fingerprint_of, load_data
from effbench.plan.user_factory import HOLDING, OPTIONS, load_users_data, options_of

LABELS = np.arange(30) % 3


def pairs(*, n: int = 30):
    images = np.arange(n * 16, dtype=np.float32).reshape(n, 4, 4)
    return (images, LABELS[:n]), (images + 1000, LABELS[:n])


def with_own_side(*, side: int = 4, split_seed: int = 0, augment: str = "none"):
    return tuple((torch.full((6, 1, side, side), split_seed + k + 0.5), LABELS[:6]) for k in range(3))


def unseeded():
    return tuple((torch.rand(6, 1, 4, 4) + float(np.random.rand()), LABELS[:6]) for _ in range(3))


def of_any_keyword(**options):
    return digits(**options) if "side" in options else pairs()


def gives_a_number():
    return 3


class Module:
    def __init__(self, n: int = 20):
        self.data = TensorDataset(torch.rand(n, 1, 4, 4), torch.arange(n) % 2)

    def setup(self, stage):
        self.train, self.test = random_split(self.data, [0.8, 0.2])

    def train_dataloader(self):
        return DataLoader(self.train)

    def test_dataloader(self):
        return DataLoader(self.test)


@pytest.fixture(autouse=True)
def users(monkeypatch):
    named = (pairs, with_own_side, unseeded, of_any_keyword, gives_a_number, Module)
    monkeypatch.setitem(sys.modules, "users_data", SimpleNamespace(**{thing.__name__: thing for thing in named}))
    load_data.cache_clear()


def load(target, /, **options):
    return load_users_data(Blueprint(f"users_data.{target}", options))


def test_what_is_no_data_set_becomes_one_with_options_of_its_own():
    data = load("pairs", n=24, side=2, split_seed=3, augment="crop_flip", cache="none", name="mine")
    assert isinstance(data, HeldData)
    assert (data.side, data.augment, data.name, data.n_examples("test")) == (2, "crop_flip", "mine", 24)
    assert load("pairs").name == "pairs"
    assert load("pairs").fingerprint != load("pairs", split_seed=1).fingerprint


def test_what_the_factory_takes_itself_goes_to_it_alone():
    data = load("with_own_side", side=6, split_seed=2)
    assert data.side == 6
    assert next(data.batches("train", side=6, batch_size=1))[0].unique().tolist() == [2.5]


@pytest.mark.extended
def test_what_it_draws_is_the_same_in_every_process_and_follows_the_seed():
    before = global_states()
    for name in ("unseeded", "Module"):
        first, other = load(name), load(name, split_seed=1)
        torch.rand(3), np.random.rand(3)
        assert load(name).fingerprint == first.fingerprint != other.fingerprint
        np.random.set_state(before[1]), torch.set_rng_state(before[2])
    assert are_equal(before, global_states())


def test_one_of_any_keyword_gets_all_of_them():
    assert isinstance(load("of_any_keyword", side=14), InMemoryData)
    assert load("of_any_keyword", cache="none", augment="crop_flip").augment == "crop_flip"


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("pairs", {"foo": 1}, r"^users_data\.pairs takes no option 'foo'; its options: .*cache.*, n, .*workers$"),
        ("gives_a_number", {}, r"^data: what is given \(int\) holds no splits"),
        ("pairs", {"n": 0}, "^data: train is empty"),
        ("pairs", {"cache": "ram"}, r"^data\.cache=ram"),
    ],
)
def test_what_nothing_takes_is_refused(name, options, said):
    with pytest.raises(ValueError, match=said):
        load(name, **options)


def test_a_users_image_data_takes_its_own_options_alone(monkeypatch):
    monkeypatch.setattr(sys.modules["users_data"], "own", lambda *, side=28: digits(side=side), raising=False)
    assert load("own", side=14).side == 14
    with pytest.raises(ValueError, match=r"takes no option 'cache'"):
        load("own", cache="disk")


def test_content_tells_one_from_another_whatever_gives_it_and_however_it_is_held():
    plain = fingerprint_of(Blueprint("users_data.pairs", {}))
    held = Blueprint("users_data.pairs", {"cache": "none", "workers": 0, "name": "other"})
    assert fingerprint_of(held) == plain == load("pairs").fingerprint
    assert plain != fingerprint_of(Blueprint("users_data.pairs", {"n": 27}))


def test_options_that_a_data_set_takes():
    assert options_of(Blueprint("effbench.data.digits.digits")) == {"side", "split_seed", "augment"}
    assert options_of(Blueprint("users_data.pairs")) == OPTIONS | {"n"}
    assert HOLDING < OPTIONS
