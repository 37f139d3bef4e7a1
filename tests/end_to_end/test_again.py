"""A finished command once more prints its answer from the store, and only while nothing of what it rests on changed."""

import os
import shutil
import subprocess
import sys

import pytest

COMMAND = "+prune=0.5,0.9"
NETWORK = """
from own_activations import act
from torch import nn

def network(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), act(), nn.Linear(8, num_classes))
"""
PROGRAM = """
import sys
from effbench.sweep.__main__ import main
status = main(sys.argv[1:])
print([name for name in ("torch", "mlflow", "hydra", "numba") if name in sys.modules])
sys.exit(status)
"""


class LongWayError(Exception):
    """The sweep was planned again."""


@pytest.fixture
def is_short(sweep, monkeypatch):
    """Return what tells whether a command is answered without planning, and what it prints then."""

    def planned(_):
        raise LongWayError

    def ask(arguments=COMMAND):
        with monkeypatch.context() as patch:
            patch.setattr("effbench.config.read.read_sweep", planned)
            try:
                status, out, err = sweep(arguments)
            except LongWayError:
                return None
        assert (status, err) == (0, "")
        return out

    return ask


def test_it_prints_the_same_and_needs_neither_torch_nor_mlflow_nor_hydra(folder, sweep, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # as wide here as there
    status, out, _ = sweep(COMMAND)
    assert status == 0
    before = {run.info.run_id: (run.info.end_time, run.data.metrics) for run in folder.runs()}
    quick = (
        "train.epochs=1 finetune.epochs=1 train.fraction=0.1 measure.seconds=0.02 measure.disturbed=keep sweep.jobs=1"
    ).split()
    command = [sys.executable, "-c", PROGRAM, COMMAND, *quick]
    again = subprocess.run(command, capture_output=True, text=True, cwd=folder.path, timeout=60)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == out + "[]\n"
    assert {run.info.run_id: (run.info.end_time, run.data.metrics) for run in folder.runs()} == before


def test_only_while_nothing_changed(folder, sweep, is_short, monkeypatch):
    out = sweep(COMMAND)[1]
    assert is_short() == out
    assert is_short("+prune=0.9,0.5") is None
    assert is_short(f"{COMMAND} tolerance=0.05") is None
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder.path / 'other.db'}")
        assert is_short() is None
    result = next((folder.path / ".effbench" / "entries" / "runs").glob("*.effb"))
    content = result.read_bytes()
    result.write_bytes(b"damaged" + content[7:])
    assert is_short() is None
    result.write_bytes(content)
    assert sweep(COMMAND)[0] == 0
    assert is_short() is not None
    (run, *_) = folder.children()
    folder.client.delete_run(run.info.run_id)
    assert is_short() is None
    assert sweep(COMMAND)[0] == 0
    assert is_short() is not None
    files = folder.artifact(folder.children()[0], "counts.npz")
    files.unlink()
    assert is_short() is None
    assert sweep(COMMAND)[0] == 0
    assert files.is_file()
    (folder.path / ".effbench" / "sweeps").rename(folder.path / "gone")
    assert is_short() is None


def test_code_and_configuration_of_the_users_own_that_changed_is_planned_and_computed_again(
    folder, sweep, is_short, own_network, tmp_path_factory, monkeypatch
):
    code = own_network(NETWORK)
    (code / "own_activations.py").write_text("from torch.nn import ReLU as act")
    conf = folder.path / "conf_mine" / "model"
    conf.mkdir(parents=True)
    (conf / "net.yaml").write_text("_target_: own_networks.network\n")
    store = f"store.root={folder.path / 'there'} tracking.uri=sqlite:///{folder.path / 'mlflow.db'}"
    command = f"+prune=0.9 --config-dir conf_mine model=net {store}"
    assert sweep(command)[0] == 0
    assert is_short(command) is not None
    (code / "own_activations.py").write_text("from torch.nn import Tanh as act")
    assert is_short(command) is None
    (code / "own_activations.py").write_text("from torch.nn import ReLU as act")
    assert sweep(command)[0] == 0
    assert is_short(command) is not None
    with monkeypatch.context() as patch:  # from elsewhere the same words may mean another folder
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        assert is_short(command) is None
    (conf / "net.yaml").write_text("_target_: own_networks.network\ntasks: [classification]\n")
    assert is_short(command) is None


def test_a_copy_of_the_folder_goes_the_long_way_first(folder, sweep, is_short, tmp_path_factory, monkeypatch):
    sweep(COMMAND)
    copy = tmp_path_factory.mktemp("copied") / "there"
    shutil.copytree(folder.path, copy)
    monkeypatch.chdir(copy)
    assert is_short() is None


def test_a_sweep_that_failed_or_was_not_logged_is_never_answered_from_before(folder, sweep, is_short, monkeypatch):
    assert sweep("+prune=0.9 train.lr=1e30")[0] == 1
    assert is_short("+prune=0.9 train.lr=1e30") is None
    assert not os.path.isdir(folder.path / ".effbench" / "entries" / "answers")
