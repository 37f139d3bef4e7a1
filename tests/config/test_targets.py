"""What a configuration names to be called is checked before it is: by its kind, and with the key that names it."""

import sys
from types import SimpleNamespace

import pytest
from torch import nn

from effbench.config.targets import check_target, check_targets
from effbench.data import ImageData
from effbench.plan.stage import Stage

DIGITS = "effbench.data.digits.digits"


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "os.system"}, r"^data\._target_=os\.system: is a part of Python"),
        (
            {"_target_": "torch.nn.Linear"},
            r"^data\._target_=torch\.nn\.Linear: Linear is a class of another kind; must be",
        ),
        ({}, r"^data\._target_=None: must be a dotted name"),
        ({"_target_": DIGITS, "_partial_": True}, r"^data\._partial_: there is no such key"),
        ({"_target_": DIGITS, "x": {"_args_": []}}, r"^data\.x\._args_: there is no such key"),
        ({"_target_": DIGITS, "x": {"y": {"_target_": "os.system"}}}, r"^data\.x\.y\._target_: there is no such key"),
    ],
)
def test_what_can_not_be_called_is_named_by_its_key(node, message):
    with pytest.raises(ValueError, match=message):
        check_target("data", node, ImageData)


def test_data_may_come_from_a_data_module_and_not_from_one_dataset(monkeypatch):
    class Module:
        def train_dataloader(self):
            return None

    monkeypatch.setitem(sys.modules, "users_module", SimpleNamespace(Module=Module))
    check_target("data", {"_target_": "users_module.Module"}, ImageData)
    with pytest.raises(
        ValueError, match=r"^data\._target_=torchvision\.datasets\.MNIST: is one Dataset, and a sweep needs"
    ):
        check_target("data", {"_target_": "torchvision.datasets.MNIST"}, ImageData)
    with pytest.raises(ValueError, match=r"^model\._target_=users_module\.Module: Module is a class of another kind"):
        check_target("model", {"_target_": "users_module.Module"}, nn.Module)


def test_functions_and_classes_of_the_kind_may_be_called():
    check_target("data", {"_target_": DIGITS, "side": 28}, ImageData)
    check_target("data", {"_target_": "effbench.data.in_memory.InMemoryData"}, ImageData)
    check_target("engine.eager", {"_target_": "effbench.measure.engines.eager.EagerEngine"}, None)
    with pytest.raises(
        ValueError, match=r"^engine\.eager\._target_=torch\.nn\.ReLU: must be a class with name, prepare"
    ):
        check_target("engine.eager", {"_target_": "torch.nn.ReLU"}, None)


@pytest.mark.parametrize("name", [DIGITS, "torch.nn.Linear"])
def test_a_stage_is_a_class_of_its_kind(name):
    with pytest.raises(ValueError, match=rf"^stage\.prune\._target_={name}: must be a class derived from Stage$"):
        check_target("stage.prune", {"_target_": name}, Stage, only_classes=True)


def test_every_group_is_looked_at():
    good = {
        "model": {"_target_": "effbench.models.lenet_5"},
        "data": {"_target_": DIGITS},
        "task": {"_target_": "effbench.tasks.classification.Classification"},
        "stage": {"train": {"_target_": "effbench.stages.train.Train"}},
    }
    check_targets(good)
    for group in ("model", "data", "task"):
        with pytest.raises(ValueError, match=rf"^{group}\._target_=sys\.exit"):
            check_targets({**good, group: {"_target_": "sys.exit"}})
    with pytest.raises(ValueError, match=r"^stage\.train\._target_=sys\.exit"):
        check_targets({**good, "stage": {"train": {"_target_": "sys.exit"}}})
