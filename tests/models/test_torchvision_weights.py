"""torchvision's weights by name; nothing is downloaded."""

from urllib.error import URLError

import pytest
import torch
import torchvision

from effbench.models import torchvision_model
from effbench.models.torchvision_weights import download, names_weights, renamed, usual_entry, weights_of_torchvision

NAME = "squeezenet1_1"


@pytest.fixture
def downloaded(monkeypatch):
    torch.manual_seed(2)
    state = torchvision.models.get_model(NAME).state_dict()
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: dict(state))
    return state


@pytest.mark.parametrize("weights", ["default", "DEFAULT", "IMAGENET1K_V1", "SqueezeNet1_1_Weights.IMAGENET1K_V1"])
def test_every_name_of_the_weights_gives_the_same_network(downloaded, weights):
    model = torchvision_model(name=NAME, weights=weights)
    assert all(torch.equal(tensor, downloaded[name]) for name, tensor in model.state_dict().items())


def test_rows_of_the_classifier_are_chosen(downloaded):
    model = torchvision_model(name=NAME, weights="DEFAULT", num_classes=2, class_rows=[281, 7])
    assert torch.equal(model.classifier[1].weight, downloaded["classifier.1.weight"][[281, 7]])


@pytest.mark.parametrize(
    ("weights", "hint"),
    [("IMAGENET1K_V3", "IMAGENET1K_V1"), ("imagenet1k_v1", "IMAGENET1K_V1"), ("defualt", "DEFAULT")],
)
def test_an_unknown_name_lists_those_there_are(weights, hint):
    with pytest.raises(ValueError, match=rf"did you mean {hint}\? known: none, DEFAULT, IMAGENET1K_V1, or the path"):
        torchvision_model(name=NAME, weights=weights)
    with pytest.raises(ValueError, match="mnasnet0_75 has no weights"):
        weights_of_torchvision("mnasnet0_75", "IMAGENET1K_V9")


def test_a_file_of_such_a_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({}, "best")
    assert not names_weights(NAME, "best")
    assert not names_weights(NAME, "nets/IMAGENET1K_V1")
    assert [names_weights(NAME, weights) for weights in (None, "none", "DEFAULT")] == [False, False, True]


@pytest.mark.parametrize(
    "error",
    [URLError(OSError(-2, "Name or service not known")), RuntimeError("invalid hash value"), OSError("no room")],
)
def test_what_can_not_be_downloaded_is_said_with_its_address(error):
    def fail():
        raise error

    with pytest.raises(
        ValueError, match=r"of squeezenet1_1 can't be had from https://.*squeezenet1_1.*\.pth \("
    ) as caught:
        download(NAME, "DEFAULT", fail)
    assert str(caught.value).endswith("give its path: model.weights=…") and "\n" not in str(caught.value)


def test_old_names_of_densenets_are_turned_into_todays():
    old = {"features.denseblock1.denselayer2.norm.1.weight": 1, "features.norm0.weight": 2}
    assert renamed("densenet121", old) == {
        "features.denseblock1.denselayer2.norm1.weight": 1,
        "features.norm0.weight": 2,
    }
    assert renamed("resnet18", old) == old


@pytest.mark.extended
def test_files_of_googlenet_come_with_heads_that_are_left_out(tmp_path):
    with torch.device("meta"):
        whole = torchvision.models.googlenet(init_weights=False, num_classes=3)
    state = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in whole.state_dict().items()}
    for file, is_turned in (("googlenet.pth", False), ("googlenet-1378be20.pth", True)):
        torch.save(state, tmp_path / file)
        model = torchvision_model(name="googlenet", num_classes=3, weights=str(tmp_path / file))
        assert not any(parameter.any() for parameter in model.parameters())
        assert model.transform_input == is_turned, "as torchvision does with its own weights"


def test_the_usual_entry_is_the_first_one_for_imagenet():
    assert usual_entry("resnet50").name == "IMAGENET1K_V1"
    assert usual_entry("regnet_y_128gf").name.startswith("IMAGENET1K_SWAG")
    assert usual_entry("no such network") is None
