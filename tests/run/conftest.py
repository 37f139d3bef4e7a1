"""What tests of runs share: points of tiny sweeps, and bits that are compared."""

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
