"""Weights that effbench loads itself, into networks whose factory reads none."""

import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from effbench.models import small_cnn
from effbench.plan.blueprint import Blueprint
from effbench.plan.given_weights import network_identity, split_off
from effbench.plan.sources import build_network, load_data
from effbench.tasks.classification import Classification

DATA = Blueprint("effbench.data.digits.digits", {"side": 8, "split_seed": 0})


def own(num_classes=10, in_channels=1):
    return nn.Sequential(nn.Conv2d(in_channels, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, num_classes))


def anything(**options):
    return own(**{name: value for name, value in options.items() if name == "num_classes"})


def reading(weights=None, num_classes=10):
    return own(num_classes)


@pytest.fixture(autouse=True)
def targets(monkeypatch):
    monkeypatch.setitem(sys.modules, "own_nets", SimpleNamespace(own=own, anything=anything, reading=reading))


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(5)
    state = own().state_dict()
    torch.save({"state_dict": {f"net.{name}": tensor for name, tensor in state.items()}}, tmp_path / "own.ckpt")
    return state, str(tmp_path / "own.ckpt")


def built(blueprint):
    torch.manual_seed(0)
    return build_network(blueprint, Classification(), load_data(DATA), 8)


@pytest.mark.parametrize("name", ["own", "anything"])
def test_a_users_factory_gets_them(saved, name):
    state, path = saved
    model = built(Blueprint(f"own_nets.{name}", {"weights": path}))
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def test_networks_of_conf_get_them_and_knobs_that_do_not_fit_are_refused(tmp_path):
    torch.save(small_cnn(channels=(4, 4)).state_dict(), tmp_path / "w.pt")
    options = {"channels": [4, 4], "weights": str(tmp_path / "w.pt")}
    loaded = built(Blueprint("effbench.models.small_cnn", options))
    assert torch.equal(loaded.classifier.weight, torch.load(tmp_path / "w.pt")["classifier.weight"])
    with pytest.raises(
        ValueError, match=r"w.pt does not fit Sequential: .* of another shape: features.conv1.weight is"
    ):
        built(Blueprint("effbench.models.small_cnn", {**options, "alpha": 0.5}))


@pytest.mark.parametrize(
    ("target", "options", "kept"),
    [
        ("own_nets.own", {"weights": "a.pth", "weights_entry": "ema"}, {}),
        ("own_nets.own", {"weights": None}, {}),
        ("own_nets.anything", {"weights": "a.pth"}, {}),
        ("own_nets.anything", {"weights": "imagenet"}, {"weights": "imagenet"}),
        ("own_nets.reading", {"weights": "a.pth"}, {"weights": "a.pth"}),
        ("torchvision.models.resnet18", {"weights": "a.pth"}, {}),
        ("torchvision.models.resnet18", {"weights": "IMAGENET1K_V1"}, {"weights": "IMAGENET1K_V1"}),
        ("effbench.models.torchvision_model", {"weights": "a.pth"}, {"weights": "a.pth"}),
    ],
)
def test_what_a_factory_gets_itself(target, options, kept):
    rest, given = split_off(Blueprint(target, options))
    assert rest == Blueprint(target, kept)
    assert given == ({} if kept or options["weights"] is None else options)


def test_a_name_of_weights_is_refused_where_nobody_knows_it():
    with pytest.raises(ValueError, match=r"model.weights=default: must be none or a file; own_nets.own has no weights"):
        built(Blueprint("own_nets.own", {"weights": "default"}))


class TestIdentity:
    def test_it_is_what_is_in_the_file_wherever_it_lies(self, saved, tmp_path):
        _, path = saved
        plain = Blueprint("own_nets.own")
        blueprint = plain.with_options(weights=path)
        (tmp_path / "elsewhere").mkdir()
        copied = shutil.copy(path, tmp_path / "elsewhere" / "other.pth")
        assert network_identity(blueprint) == network_identity(plain.with_options(weights=str(copied)))
        assert network_identity(blueprint) != network_identity(plain)
        before = network_identity(blueprint)
        torch.save(own().state_dict(), path)
        assert network_identity(blueprint) != before

    @pytest.mark.parametrize("options", [{"weights_entry": "ema"}, {"class_rows": [1, 0]}])
    def test_what_is_taken_of_it_counts(self, saved, options):
        blueprint = Blueprint("own_nets.own", {"weights": saved[1]})
        assert network_identity(blueprint.with_options(**options)) != network_identity(blueprint)

    def test_without_weights_it_is_what_it_was(self):
        for options in ({}, {"weights": None}, {"weights": "none"}):
            blueprint = Blueprint("effbench.models.small_cnn", {"kernel": 5, **options})
            assert network_identity(blueprint) == Blueprint("effbench.models.small_cnn", {"kernel": 5}).identity()


def test_a_file_that_is_written_anew_while_a_sweep_runs_fails_its_runs(saved, make_chain):
    chain = make_chain(network=Blueprint("own_nets.own", {"weights": saved[1]}))
    assert chain.prefix_keys
    chain.check_code()
    torch.save(own().state_dict(), saved[1])
    with pytest.raises(ValueError, match=r"own_nets.own: a file that its options name was changed after the sweep"):
        chain.check_code()
