"""What blueprints stand for, built: data and tasks once, networks every time anew."""

import pytest
import torch
from torch import nn

from effbench.plan.blueprint import Blueprint
from effbench.plan.sources import build_network, fingerprint_of, load_data, load_task
from effbench.tasks.classification import Classification

DIGITS = {"side": 14, "split_seed": 0}


def test_equal_blueprints_are_loaded_once_a_process():
    one, other = (Blueprint("effbench.data.digits.digits", dict(DIGITS)) for _ in range(2))
    assert load_data(one) is load_data(other)
    assert load_data(one).side == 14
    assert load_data(one.with_options(split_seed=1)) is not load_data(one)
    task = Blueprint("effbench.tasks.classification.Classification")
    assert isinstance(load_task(task), Classification)
    assert load_task(task) is load_task(Blueprint(task.target))


def test_a_network_is_built_anew_for_its_task_its_data_and_the_side():
    data, task = load_data(Blueprint("effbench.data.digits.digits", DIGITS)), Classification()
    blueprint = Blueprint("effbench.models.lenet_300_100")
    torch.manual_seed(0)
    one = build_network(blueprint, task, data, 10)
    torch.manual_seed(0)
    again = build_network(blueprint, task, data, 10)
    other = build_network(blueprint, task, data, 10)
    layers = [module for module in one.modules() if isinstance(module, nn.Linear)]
    assert (layers[0].in_features, layers[-1].out_features) == (100, 10)
    assert one is not again
    weights = [next(network.parameters()) for network in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_is_no_network_is_refused():
    data = load_data(Blueprint("effbench.data.digits.digits", DIGITS))
    with pytest.raises(
        ValueError,
        match=r"model\._target_=effbench\..*\.Classification: gives a Classification, not a torch\.nn\.Module",
    ):
        build_network(Blueprint("effbench.tasks.classification.Classification"), Classification(), data, 28)


OWN_KIND = """
from dataclasses import dataclass
from effbench.data.digits import digits
from effbench.data.in_memory import InMemoryData

BLUR = 1

@dataclass(frozen=True, kw_only=True, eq=False)
class Blurred(InMemoryData):
    def _batches(self, wanted, /):
        yield from super()._batches(wanted)

def blurred(root, factor=1):
    known = digits(side=14)
    parts = ("name", "n_classes", "images", "labels", "mean", "std", "side")
    return Blurred(**{part: getattr(known, part) for part in parts})

def plain(root, factor=1):
    return digits(side=14)
"""


@pytest.fixture
def users_data(tmp_path, monkeypatch):
    (tmp_path / "users_data.py").write_text(OWN_KIND)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name, **options: Blueprint(f"users_data.{name}", {"root": "/somewhere", **options})


def test_data_of_a_users_own_kind_are_told_by_their_code_and_options(users_data, tmp_path):
    def prints(name):
        return fingerprint_of(users_data(name)), fingerprint_of(users_data(name, factor=2))

    own, other = prints("blurred")
    assert own != other
    assert own == fingerprint_of(users_data("blurred", root="/elsewhere"))
    assert len(set(prints("plain"))) == 1  # what effbench's kinds hold says everything
    (tmp_path / "users_data.py").write_text(OWN_KIND.replace("BLUR = 1", "BLUR = 22"))
    assert prints("blurred")[0] != own
    assert prints("plain") == (load_data(users_data("plain")).fingerprint,) * 2
