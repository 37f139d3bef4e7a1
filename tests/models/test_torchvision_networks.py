import pytest
import torch
import torchvision
from torch import nn

from effbench.models import torchvision_model

NAME = "squeezenet1_1"


@pytest.fixture
def weights_file(tmp_path):
    def save(content):
        torch.save(content, tmp_path / "weights.pt")
        return str(tmp_path / "weights.pt")

    return save


def trained(**options):
    torch.manual_seed(1)
    return torchvision_model(**{"name": NAME, "num_classes": 5, **options})


def test_an_unknown_name_lists_the_known_and_suggests_one():
    with pytest.raises(ValueError, match="'resnet_50': did you mean resnet50") as caught:
        torchvision_model(name="resnet_50")
    assert "mobilenet_v2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_segmentation_network_is_unknown():
    with pytest.raises(ValueError, match="no classification network"):
        torchvision_model(name="fcn_resnet50")


def test_weights_load_whole_for_the_same_classes(weights_file):
    source = trained()
    model = torchvision_model(name=NAME, num_classes=5, weights=weights_file(source.state_dict()))
    assert all(torch.equal(loaded, own) for loaded, own in zip(model.parameters(), source.parameters(), strict=True))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("name", [NAME, "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_the_classifier_alone_stays_fresh_for_other_classes(weights_file, name):
    source = trained(name=name)
    path = weights_file(source.state_dict())
    torch.manual_seed(7)
    fresh = torchvision_model(name=name, num_classes=3).state_dict()
    torch.manual_seed(7)
    loaded = torchvision_model(name=name, num_classes=3, weights=path).state_dict()
    refitted = [key for key in fresh if fresh[key].shape != source.state_dict()[key].shape]
    assert {fresh[key].shape[0] for key in refitted} == {3}
    assert len(refitted) == 2
    for key, tensor in loaded.items():
        assert torch.equal(tensor, fresh[key] if key in refitted else source.state_dict()[key])


@pytest.mark.extended
def test_every_family_has_its_classifier_last():
    # load_fitting refits the last convolution or linear layer; built on meta, for 3 and for 4 classes.
    from effbench.compression.layers import weight_layers

    families = ["alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet"]
    families += ["inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "resnet18"]
    families += ["shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11", "vit_b_32"]
    for name in families:
        with torch.device("meta"):
            three, four = (torchvision_model(name=name, num_classes=n).state_dict() for n in (3, 4))
            *_, (classifier, _layer) = weight_layers(torchvision_model(name=name, num_classes=3))
        differing = {key.rpartition(".")[0] for key in three if three[key].shape != four[key].shape}
        assert differing == {classifier}, name


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("name", [NAME, "googlenet", "densenet121"])
def test_default_weights_come_from_torchvision_and_the_classifier_is_fitted(monkeypatch, name):
    torch.manual_seed(2)
    downloaded = torchvision.models.get_model(
        name, **({"init_weights": True} if name == "googlenet" else {})
    ).state_dict()
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: dict(downloaded))
    model = torchvision_model(name=name, weights="default", num_classes=4)
    assert not any(key.startswith("aux") for key in model.state_dict())
    assert sum(not torch.equal(tensor, downloaded[key]) for key, tensor in model.state_dict().items()) == 2
    assert getattr(model, "transform_input", True)


def test_grey_images_are_repeated_and_the_state_dict_is_the_same(weights_file):
    colour, path = trained(), weights_file(trained().state_dict())
    grey = torchvision_model(name=NAME, num_classes=5, weights=path, in_channels=1)
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(grey.eval()(images), colour.eval()(images.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("in_channels", [0, 2, 4])
def test_other_channels_are_refused(in_channels):
    with pytest.raises(ValueError, match="in_channels must be 3, or 1"):
        torchvision_model(name=NAME, in_channels=in_channels)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(name):
    with torch.device("meta"):
        model = torchvision_model(name=name, num_classes=10)
        outcome = model.train()(torch.empty(2, 3, 80, 80))
    assert outcome.shape == (2, 10)
    assert len([module for module in model.modules() if isinstance(module, nn.Linear)]) == 1


def test_input_side_reaches_the_networks_that_need_it():
    with torch.device("meta"):
        assert torchvision_model(name="vit_b_16", num_classes=3, input_side=32)(torch.empty(1, 3, 32, 32)).shape == (
            1,
            3,
        )
    with pytest.raises(ValueError, match="vit_b_16 can't be built for input_side 28"):
        torchvision_model(name="vit_b_16", input_side=28)
