import os
import pickle

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
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), source.parameters(), strict=True))


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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state.pop("features.0.weight"), "features.0.weight is missing"),
        (lambda state: state.pop("classifier.1.bias"), "classifier.1.bias is missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra is unknown"),
        (lambda state: state.update({"features.0.bias": torch.zeros(3)}), "features.0.bias is 3, not 64"),
        (
            lambda state: state.update({"classifier.1.weight": torch.zeros(5, 7, 1, 1)}),
            "classifier.1.weight is 5×7×1×1",
        ),
    ],
)
def test_anything_else_that_does_not_fit_is_named(weights_file, damage, message):
    state = trained().state_dict()
    damage(state)
    path = weights_file(state)
    with pytest.raises(ValueError, match=message) as caught:
        torchvision_model(name=NAME, num_classes=4, weights=path)
    assert path in str(caught.value)


def test_only_a_few_tensors_are_named(weights_file):
    path = weights_file(trained(name="mobilenet_v3_small").state_dict())
    with pytest.raises(ValueError, match=r"and \d+ more$") as caught:
        torchvision_model(name=NAME, num_classes=5, weights=path)
    assert len(str(caught.value)) < 600


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r'weights must be "none", "default" or an existing file'):
        torchvision_model(name=NAME, weights=str(tmp_path / "missing.pt"))


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, weights_file):
    target = tmp_path / "owned"
    path = weights_file({"features.0.weight": Malicious(str(target))})
    with pytest.raises(ValueError, match="can't be read as weights") as caught:
        torchvision_model(name=NAME, weights=path)
    assert not target.exists()
    assert "\n" not in str(caught.value)


def test_a_bare_malicious_pickle_is_refused_and_not_run(tmp_path):
    target = tmp_path / "owned"
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps(Malicious(str(target))))
    with pytest.raises(ValueError, match="can't be read as weights"):
        torchvision_model(name=NAME, weights=str(path))
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle at all", b"PK\x03\x04 a damaged archive"])
def test_other_bytes_are_refused(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="can't be read as weights"):
        torchvision_model(name=NAME, weights=str(path))


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {}, {"epoch": 3}, {"state_dict": {"a": torch.zeros(1)}}])
def test_other_contents_are_refused(weights_file, content):
    path = weights_file(content)
    with pytest.raises(ValueError, match=r"must hold a state_dict \(tensors by name\), found"):
        torchvision_model(name=NAME, weights=path)


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
