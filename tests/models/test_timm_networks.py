"""Networks of timm: with a stand-in of the package, and with timm itself where it is installed."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from effbench.models import timm_model
from effbench.models.timm_networks import settings_of

CALLS = []


class Tiny(nn.Sequential):
    def __init__(self, num_classes, in_chans, side):
        super().__init__(nn.Conv2d(in_chans, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
        self.side = side


def create_model(name, pretrained=False, num_classes=7, in_chans=3, **options):
    CALLS.append((name, options))
    if pretrained and name == "unreachable":
        raise ConnectionError("no network\nat all")
    if "img_size" in options and name == "free":
        raise TypeError("__init__() got an unexpected keyword argument 'img_size'")
    if options.get("img_size", 0) % 8:
        raise AssertionError("Input height should be divisible by patch size")
    model = Tiny(num_classes, in_chans, options.get("img_size"))
    if pretrained:
        nn.init.constant_(model[3].weight, 2.0)
        model[3].weight.data += torch.arange(num_classes).view(-1, 1)
    return model


@pytest.fixture
def fake_timm(monkeypatch):
    settings = {"input_size": (3, 16, 16), "fixed_input_size": False, "hf_hub_id": "timm/x", "num_classes": 7}
    known = {
        "free": settings,
        "fixed": {**settings, "fixed_input_size": True},
        "unreachable": settings,
        "unknown_weights": {**settings, "hf_hub_id": None},
    }
    timm = ModuleType("timm")
    timm.create_model = create_model
    timm.is_model = lambda name: name.partition(".")[0] in known
    timm.list_models = lambda: list(known)
    timm.list_pretrained = lambda pattern: ["free.a", "free.b"]
    timm.get_pretrained_cfg = lambda name: SimpleNamespace(to_dict=lambda: known[name]) if name in known else None
    monkeypatch.setitem(sys.modules, "timm", timm)
    CALLS.clear()


@pytest.mark.usefixtures("fake_timm")
class TestWithAStandIn:
    @pytest.mark.parametrize(
        ("name", "side", "asked"), [("free", 16, None), ("free", 32, None), ("fixed", 32, 32), ("fixed", 16, 16)]
    )
    def test_the_side_goes_to_networks_that_take_it(self, name, side, asked):
        model = timm_model(name=name, num_classes=3, in_channels=1, input_side=side)
        assert model.side == asked
        assert model(torch.zeros(2, 1, side, side)).shape == (2, 3)

    def test_a_side_that_the_network_refuses(self):
        with pytest.raises(ValueError, match="fixed can't be built for input_side 17: AssertionError: Input height"):
            timm_model(name="fixed", input_side=17)

    def test_its_weights_are_fitted_to_the_classes(self):
        whole = timm_model(name="free", pretrained=True, num_classes=7)
        chosen = timm_model(name="free", pretrained=True, num_classes=2, class_rows=[6, 1])
        assert whole[3].weight[:, 0].tolist() == [2, 3, 4, 5, 6, 7, 8]
        assert chosen[3].weight[:, 0].tolist() == [8, 3]
        refitted = timm_model(name="free", pretrained=True, num_classes=2)
        assert refitted[3].weight.max() < 2

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"name": "fre"}, "timm has no network fre; did you mean free"),
            ({"name": "zzzz"}, r"timm has no network zzzz; timm.list_models\(\) lists them"),
            ({"name": "free.c"}, r"timm has no weights free.c; of free it has free.a, free.b"),
            ({"name": "unknown_weights", "pretrained": True}, "timm has no weights of unknown_weights; give a file"),
            (
                {"name": "unreachable", "pretrained": True},
                r"can't be had from https://huggingface.co/timm/x \(Connection",
            ),
            ({"name": "free", "pretrained": "yes"}, "pretrained must be true or false, got 'yes'"),
            ({"name": "free", "num_classes": 0}, "num_classes"),
        ],
    )
    def test_what_can_not_be_had_is_said_in_a_line(self, options, message):
        with pytest.raises(ValueError, match=message) as caught:
            timm_model(**options)
        assert "\n" not in str(caught.value)


def test_without_timm_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm:resnet18 needs timm, .*pip install 'effbench\[timm\]'"):
        timm_model(name="resnet18")


class TestTimmItself:
    @pytest.fixture(autouse=True)
    def timm(self):
        return pytest.importorskip("timm", reason="timm is an extra: pip install 'effbench[timm]'")

    @pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet.r160_in1k"])
    def test_small_networks_of_three_kinds(self, name):
        model = timm_model(name=name, num_classes=5, in_channels=1, input_side=96).eval()
        assert model(torch.zeros(2, 1, 96, 96)).shape == (2, 5)

    def test_what_it_says_of_weights(self):
        assert settings_of("resnet10t")["num_classes"] == 1000
