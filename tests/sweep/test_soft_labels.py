"""The labels that a run learned from are a file of it, which teaches again as they did."""

import numpy as np
import pytest
import torch

from effbench.config.command_line import read_command_line
from effbench.config.points import plan_of
from effbench.run.one import run_point
from effbench.run.store import Store
from effbench.sweep import soft_labels
from effbench.sweep.soft_labels import FILE, soft_label_files

CPU = torch.device("cpu")
COMMAND = ["distill=0.5", "recipe=distill", "train.epochs=1", "train.fraction=0.05", "train.precision=float32"]
COMMAND += ["data.side=8", "model.channels=[4,4]"]


def points(*arguments):
    return plan_of(read_command_line([*COMMAND, *arguments])).points


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_given_back_they_make_the_same_network_to_the_bit(store, tmp_path):
    reference, taught = points()
    results = [run_point(point, store, device=CPU) for point in (reference, taught)]
    assert soft_label_files(reference, store) == {}
    (tmp_path / FILE).write_bytes(soft_label_files(taught, store)[FILE])
    with np.load(tmp_path / FILE) as content:
        assert content["logits"].shape == (3000, 10)
        assert str(content["fingerprint"]) == taught.chain.loaded_data().fingerprint
    again = points(f"stage.distill.labels={tmp_path / FILE}")[1]
    assert again.key != taught.key
    assert run_point(again, store, device=CPU).blob == results[1].blob
    assert soft_label_files(again, store)[FILE] == (tmp_path / FILE).read_bytes()
    with pytest.raises(ValueError, match=r"^stage\.distill\.labels=.*: is for data of fingerprint"):
        points(f"stage.distill.labels={tmp_path / FILE}", "data.split_seed=1")


def test_they_are_left_out_where_they_are_gone_too_large_or_of_a_pool(store, monkeypatch):
    _, taught = points()
    assert soft_label_files(taught, store) == {}
    run_point(taught, store, device=CPU)
    assert soft_label_files(taught, store)
    monkeypatch.setattr(soft_labels, "MOST_BYTES", 10)
    assert soft_label_files(taught, store) == {}
    pooled = points("stage.distill.pool=1", "stage.distill.augment=affine")[1]
    assert soft_label_files(pooled, store) == {}
