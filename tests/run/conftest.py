"""What tests of runs share: points of tiny sweeps, bits that are compared, a network that tells where it is."""

import json

import pytest
import torch

from effbench.compression.constraints.stack import bake
from effbench.config.read import read_sweep
from effbench.run.store import Store
from effbench.run.sweep_records import SweepRecord

TINY = ["model.channels=[4,4]", "data.side=8", "train.epochs=1", "finetune.epochs=1", "train.fraction=0.3"]


@pytest.fixture(scope="session")
def tiny_points():
    """Return what plans a sweep of tiny networks: tiny_points("prune=0.5") -> its points."""
    return lambda *arguments: read_sweep([*TINY, *arguments]).plan.points


@pytest.fixture(scope="session")
def same_bits():
    """Return what tells whether two networks hold the same tensors, as they are in use."""

    def compare(one, other):
        one, other = bake(one).state_dict(), bake(other).state_dict()
        return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())

    return compare


@pytest.fixture
def everything_is_kept(monkeypatch):
    """Have the store keep the network after every step, however quick it was."""
    monkeypatch.setattr("effbench.run.making.WORTH_KEEPING_SECONDS", 0.0)


@pytest.fixture(scope="session")
def tiny_sweep():
    """Return what plans a sweep of tiny networks."""
    return lambda *arguments: read_sweep([*TINY, *arguments])


@pytest.fixture
def store(tmp_path):
    """Return an empty store."""
    return Store(tmp_path / "store")


@pytest.fixture
def record():
    """Return a factory of records: record("id", {"run": ("network", …)}, lasting=["network"])."""

    def make(sweep, points, *, lasting=(), references=(), teachers=()):
        groups = {"lasting": lasting, "references": references, "teachers": teachers}
        return SweepRecord(
            id=sweep,
            command=f"python -m effbench.sweep +prune={sweep}",
            points=points,
            **{name: frozenset(keys) for name, keys in groups.items()},
        )

    return make


WATCHED = """
import json, os, time
from pathlib import Path
import torch
from torch import nn

class Watched(nn.Sequential):
    dies, n_steps = False, 0
    def forward(self, images):
        if self.training:
            self.n_steps += 1
            time.sleep(float(os.environ.get("WATCHED_SECONDS", 0)))
            if self.n_steps > 3:  # it is trained, not only looked at
                if self.dies:
                    os._exit(7)
                facts = [torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"), os.getcwd()]
                Path(f"seen-{os.getpid()}.json").write_text(json.dumps(facts))
        return super().forward(images)

def net(*, dies: bool = False, num_classes: int = 10, in_channels: int = 1, input_side: int = 8):
    layers = nn.Flatten(), nn.Linear(in_channels * input_side**2, 8), nn.ReLU(), nn.Linear(8, num_classes)
    network = Watched(*layers)
    network.dies = dies
    return network
"""


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """Stand in a folder with a user's network, which only this process finds; watched(…) plans a sweep of it.

    watched.facts() tells of each process that has trained one: its threads, and where it stood.
    """
    folder = tmp_path / "users"
    folder.mkdir()
    (folder / "watched_net.py").write_text(WATCHED)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    of_it = ["model._target_=watched_net.net", "data.side=8", "train.epochs=1", "finetune.epochs=1"]

    def plan(*arguments):
        return read_sweep(plan.arguments(*arguments)).plan.points

    plan.arguments = lambda *arguments: [*of_it, "train.fraction=0.3", *arguments]
    # One that was killed while it wrote leaves nothing in its file.
    plan.facts = lambda: [json.loads(text) for path in folder.glob("seen-*.json") if (text := path.read_text())]
    return plan


class Recorder:
    """An observer that remembers."""

    def __init__(self):
        self.told, self.epochs, self.began = [], [], {}

    def run_started(self, point):
        self.told.append(("started", point.label))

    def run_began(self, point, seconds):
        self.began[point.key] = seconds

    def step(self, point, step, done, total):
        assert 0 <= done <= total

    def epoch_ended(self, point, row):
        self.epochs.append((point.label, row["curve"], row["epoch"]))

    def run_computed(self, point):
        self.told.append(("computed", point.label))


@pytest.fixture
def recorder():
    """Return an observer that remembers: told, and epochs."""
    return Recorder()
