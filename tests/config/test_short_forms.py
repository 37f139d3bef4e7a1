"""Short forms of networks and data, written out into the keys that they stand for."""

import sys
from types import ModuleType, SimpleNamespace

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from effbench.config.command_line import read_command_line
from effbench.config.overrides import parse, single_lines, values_of
from effbench.config.points import plan_of
from effbench.config.search_path import conf_folder
from effbench.config.short_forms import expanded

TINY = ["train.epochs=1", "train.precision=float32", "data.side=8"]


def node(*arguments):
    return read_command_line(arguments).configurations[0].node


@pytest.fixture(autouse=True)
def own_module(monkeypatch):
    """Let users' networks be importable, and a timm that knows one network."""

    def net(num_classes=10, in_channels=1, width=2):
        return nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.Flatten(), nn.LazyLinear(num_classes))

    monkeypatch.setitem(sys.modules, "own_short", SimpleNamespace(net=net))
    timm = ModuleType("timm")
    timm.is_model = lambda name: name == "resnet10t"
    timm.list_models = lambda: ["resnet10t"]
    timm.get_pretrained_cfg = lambda name: SimpleNamespace(to_dict=lambda: {"num_classes": 1000})
    monkeypatch.setitem(sys.modules, "timm", timm)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("model=squeezenet1_1", {"_target_": "effbench.models.torchvision_model", "name": "squeezenet1_1"}),
        ("model=torchvision:resnet18", {"_target_": "effbench.models.torchvision_model", "name": "resnet18"}),
        ("model=timm:resnet10t", {"_target_": "effbench.models.timm_model", "name": "resnet10t"}),
        ("model=own_short:net", {"_target_": "own_short.net"}),
        ("model=a.b.c:d", {"_target_": "a.b.c.d"}),
        ("model=lenet_5", {"_target_": "effbench.models.lenet_5"}),
    ],
)
def test_networks(argument, expected):
    model = node(argument)["model"]
    assert expected.items() <= model.items()
    assert "channels" not in model, "what belongs to the default network is gone"


def test_options_go_with_a_short_form():
    assert node("model=own_short:net", "model.width=3")["model"] == {"_target_": "own_short.net", "width": 3}
    weights = node("model=resnet18", "model.weights=best.pth")["model"]["weights"]
    assert weights == "best.pth"


def test_a_short_form_is_the_long_one():
    assert node("model=squeezenet1_1") == node("model=torchvision", "model.name=squeezenet1_1")
    photos = node("data=./photos", "data.side=32")
    assert photos == node("data=image_folder", "data.root=./photos", "data.side=32")


@pytest.mark.parametrize(
    ("written", "root"),
    [
        ("./photos", "./photos"),
        ("photos", "photos"),
        ("a b/my photos", "a b/my photos"),
        ("~/photos", "~/photos"),
        ('"a, b/c"', "a, b/c"),
        ("fotos/größe", "fotos/größe"),
        ("..", ".."),
    ],
)
def test_folders(tmp_path, monkeypatch, written, root, conf):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (override,) = parse([f"data={written}"])
    (line,) = single_lines(override, "")
    keys = expanded({"data": line, "data.augment": "++data.augment=none"})
    assert list(keys) == ["data", "data.root", "data.augment"] and keys["data"] == "data=image_folder"
    assert list(values_of(parse([keys["data.root"]])[0])) == [root]


@pytest.fixture
def conf():
    """Let Hydra know the configuration, as within `read_command_line`."""
    with hydra.initialize_config_dir(str(conf_folder().resolve()), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def test_a_member_stands_before_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert node("data=digits")["data"]["_target_"] == "effbench.data.digits.digits"


def test_several_are_swept_one_by_one_and_labelled_as_they_were_written(tmp_path):
    command = read_command_line(["model=squeezenet1_1,timm:resnet10t,own_short:net,lenet_5"])
    targets = [composed.node["model"]["_target_"].rpartition(".")[2] for composed in command.configurations]
    assert targets == ["torchvision_model", "timm_model", "net", "lenet_5"]
    swept = [composed.swept["model"] for composed in command.configurations]
    assert swept == ["squeezenet1_1", "timm:resnet10t", "own_short:net", "lenet_5"]


@pytest.mark.extended
def test_runs_are_named_as_networks_were_called(monkeypatch):
    def eager(num_classes=10, in_channels=1):
        return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))

    sys.modules["own_short"].net = eager
    points = plan_of(read_command_line([*TINY, "model=own_short:net,lenet_300_100"])).points
    assert [point.network_name for point in points] == ["own_short:net", "lenet_300_100"]
    assert [point.label.partition(",")[0] for point in points] == ["model=own_short:net", "model=lenet_300_100"]
    assert len({point.key for point in points}) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=resnet_18"], "model=resnet_18: there is no such choice; did you mean model=resnet18? known: "),
        (["model=lenet5"], "model=lenet5: there is no such choice; did you mean model=lenet_5? known: "),
        (["model=own.nets.net"], "of a module of your own: model=own.nets:net"),
        (["model=timm:resnet10x"], "model=timm:resnet10x: timm has no network resnet10x; did you mean resnet10t?"),
        (["model=timm:"], "name a network after the colon, as in timm:resnet10t"),
        (["model=torchvision:resnet19"], "has no such classification network; did you mean resnet18?"),
        (["model=lenet_5,resnet_18"], "model=resnet_18: there is no such choice"),
        (["model=a:b:c"], "model=a:b:c: there is no such choice"),
        (["model=null"], "model=null: there is no such choice"),
        (["model=resnet18", "model.name=resnet50"], "stands for model.name=resnet18, and model.name=resnet50 is given"),
        (["data=./here", "data.root=there"], "stands for data.root=./here, and data.root=there is given"),
        (["data=mnisst"], "did you mean data=mnist? known: "),
        (["data=nowhere"], "or the path of a folder: data=./photos"),
    ],
)
def test_what_is_none_is_said_in_one_line(arguments, message):
    with pytest.raises(ValueError) as refusal:
        read_command_line(arguments)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_folder_is_for_classification():
    with pytest.raises(ValueError, match=r"data=./photos: is for task=classification, not for task=segmentation"):
        plan_of(read_command_line(["task=segmentation", "data=./photos"]))
