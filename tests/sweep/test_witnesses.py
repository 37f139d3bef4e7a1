"""All that decides a planned sweep's answer is gathered."""

import pytest
from PIL import Image

from effbench.config.read import read_sweep
from effbench.plan.witnesses import PACKAGE
from effbench.sweep.printout import Printout
from effbench.sweep.witnesses import witnesses_of

PRINTOUT = Printout(table=None, lines=[], figure="there/saturation.png", runs="")
NETWORK = """
from witnessed_activations import act
from torch import nn

def network(num_classes, weights=None):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), act(), nn.Linear(8, num_classes))
"""
DATA = """
from effbench.data.digits import digits as own
def digits(**options): return own(**options)
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    (tmp_path / "witnessed_networks.py").write_text(NETWORK)
    (tmp_path / "witnessed_activations.py").write_text("from torch.nn import ReLU as act")
    (tmp_path / "witnessed_data.py").write_text(DATA)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_of_a_plain_sweep_effbench_itself_the_store_and_packages(store):
    sweep = read_sweep(["prune=0.5"])
    found = witnesses_of(sweep, store, PRINTOUT)
    assert str(PACKAGE) in found.folders
    assert any(folder.endswith("conf") for folder in found.folders)
    for point in sweep.plan.points:
        assert {str(store.root / "entries" / "runs" / f"{point.key}.{part}") for part in ("json", "effb", "npz")} <= (
            found.files
        )
    assert "there/saturation.png" in found.files
    assert {"torch", "mlflow", "effbench", "hydra-core"} <= found.packages


def test_of_a_network_of_the_users_own_all_that_it_reaches_and_the_files_that_options_name(store, code):
    weights = code / "weights.bin"
    weights.write_bytes(b"weights")
    found = witnesses_of(
        read_sweep([f"+model.weights={weights}", "model._target_=witnessed_networks.network"]), store, PRINTOUT
    )
    assert {
        str(code / name) for name in ("witnessed_networks.py", "witnessed_activations.py", "weights.bin")
    } <= found.files


def test_of_images_their_folder(store, tmp_path):
    root = tmp_path / "images"
    for number in range(20):
        folder = root / f"class {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), 10 * number).save(folder / f"{number}.png")
    sweep = read_sweep(["data=image_folder", f"data.root={root}", "data.side=28", "data.channels=1", "model=lenet_5"])
    assert str(root) in witnesses_of(sweep, store, PRINTOUT).folders


def test_of_a_teacher_its_network(store, code):
    taught = read_sweep(["+distill=0.5", "recipe=distill", "model._target_=witnessed_networks.network"])
    assert str(code / "witnessed_activations.py") in witnesses_of(taught, store, PRINTOUT).files


def test_what_a_data_set_of_the_users_own_reads_is_not_known(store, code):
    assert witnesses_of(read_sweep(["data._target_=witnessed_data.digits"]), store, PRINTOUT) is None


def test_of_the_users_configuration_the_folders_that_hold_files(store, tmp_path):
    for name in (
        "conf/model/net.yaml",
        "conf/mine.yaml",
        "conf/data/photos/a.png",
        "conf/.effbench/config.yaml",
        "conf/experiment/deep/e.yaml",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("_target_: effbench.models.lenet_5\n")
    found = witnesses_of(read_sweep(["-cd", str(tmp_path / "conf"), "model=net"]), store, PRINTOUT)
    assert found.configurations == {str(tmp_path / "conf" / "model"), str(tmp_path / "conf" / "experiment")}
    assert str(tmp_path / "conf" / "mine.yaml") in found.files
