"""Objects among the keywords of a sweep."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from effbench.config.objects import with_names
from effbench.plan.given import is_given, name_of

pytestmark = pytest.mark.filterwarnings("ignore")


class Local(nn.Linear):
    def __init__(self, num_classes=2):
        super().__init__(4, num_classes)


def test_names_and_mappings_stay():
    keywords = {"model": "lenet_5", "prune": [0.1], "train": {"epochs": 1, "lr": [1, 2]}, "data": {"side": 14}}
    assert with_names(keywords) == keywords


def test_networks_and_what_builds_them_become_targets():
    def inner():
        return Local()

    named = with_names({"model": Local(), "stage": {"distill": {"teacher": Local()}}})
    assert name_of(named["model"]) == "Local" and is_given(named["stage"]["distill"]["teacher"])
    assert with_names({"model": torchvision.models.resnet18}) == {"model": "torchvision.models.resnet:resnet18"}
    assert is_given(with_names({"model": inner})["model"])
    several = with_names({"model": [Local(), torchvision.models.resnet18, "lenet_5"]})["model"]
    assert is_given(several[0]) and several[1:] == ["torchvision.models.resnet:resnet18", "lenet_5"]
    assert with_names({"model": ["lenet_5", Path("x")]}) == {"model": ["lenet_5", "x"]}


def test_classes_and_partials_elsewhere_become_nodes():
    sgd = functools.partial(torch.optim.SGD, momentum=0.9)
    named = with_names({"train": {"optimizer": sgd, "loss": nn.CrossEntropyLoss, "epochs": 2}})
    assert named["train"] == {
        "optimizer": {"_target_": "torch.optim.sgd.SGD", "momentum": 0.9},
        "loss": {"_target_": "torch.nn.modules.loss.CrossEntropyLoss"},
        "epochs": 2,
    }
    assert with_names({"data": {"_target_": torchvision.datasets.FakeData}}) == {
        "data": {"_target_": "torchvision.datasets.fakedata.FakeData"}
    }


def test_data_are_a_name_a_folder_or_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "digits").mkdir()
    assert with_names({"data": "photos"}) == {"data": "./photos"} == with_names({"data": Path("photos")})
    assert with_names({"data": "digits"}) == {"data": "digits"}
    assert with_names({"data": str(tmp_path / "photos")}) == {"data": str(tmp_path / "photos")}
    pairs = tuple((np.full((4, 3, 3), n, np.uint8), np.arange(4) % 2) for n in range(3))
    by_name = dict(zip(("train", "val", "test"), pairs, strict=True))
    targets = {with_names({"data": data})["data"] for data in (pairs, list(pairs), by_name)}
    assert len(targets) == 1 and is_given(*targets)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"model": 3}, "model=3: must be a name of conf/model, a network (torch.nn.Module), or what builds one"),
        (
            {"train": {"optimizer": functools.partial(torch.optim.SGD, [])}},
            "train.optimizer: must be a partial of keywords",
        ),
        ({"data": 3}, "data"),
        ({"model": Local().state_dict()}, "model: a state_dict is no network; load it into one"),
        ({"model": Local().weight}, "model=a Parameter: must be a name of conf/model"),
    ],
)
def test_what_is_none_of_these_is_refused(keywords, message):
    with pytest.raises(ValueError) as caught:
        with_names(keywords)
    assert message in str(caught.value)
