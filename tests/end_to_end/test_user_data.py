"""A user's own Datasets in the command: resumed, the same however they are held, computed anew when they change."""

import numpy as np
import pytest

from effbench.plan.sources import load_data

MODULE = """
import numpy as np
import torch
from torch.utils.data import TensorDataset

def datasets():
    images = torch.from_numpy(np.load("images.npy"))
    return tuple(TensorDataset(images[k::3], torch.arange(40) % 3) for k in range(3))
"""
COMMAND = "+prune=0.5 model=lenet_300_100 data._target_=users_datasets.datasets"


@pytest.fixture
def images(folder, own_network):
    """Return what writes the user's images anew."""
    own_network(MODULE, "users_datasets")
    rng = np.random.default_rng(0)

    def write(shift=0.0):
        pixels = rng.normal(size=(120, 1, 6, 6)) if not (folder.path / "images.npy").exists() else None
        pixels = np.load(folder.path / "images.npy") if pixels is None else pixels.astype(np.float32)
        pixels[7, 0, 0, 0] += shift
        np.save(folder.path / "images.npy", pixels)
        load_data.cache_clear()

    write()
    return write


def test_resumed_the_same_however_held_and_computed_anew_when_changed(folder, sweep, images, monkeypatch):
    status, out, err = sweep(COMMAND)
    assert status == 0, out + err
    memory = folder.results()
    for cache in ("disk", "none"):
        load_data.cache_clear()
        assert "2 runs, 2 kept, 0 to run" in sweep(f"{COMMAND} data.cache={cache} dry_run=true")[1]
        assert not (folder.path / ".effbench" / "data").exists()
    assert sweep(f"{COMMAND} data.cache=disk store.root=other tracking.uri=sqlite:///other.db")[0] == 0
    assert (folder.path / ".effbench" / "data").exists()
    monkeypatch.setattr(type(folder), "uri", f"sqlite:///{folder.path}/other.db")
    assert folder.results() == memory
    images(shift=1.0)
    assert "2 runs, 0 kept, 2 to run" in sweep(f"{COMMAND} dry_run=true")[1]
