"""Normalisation, side, crop and classes follow a network's weights; and not where they came before that."""

import json
import logging

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from effbench.config.command_line import read_command_line
from effbench.config.resolve import resolved
from effbench.data import paths

NAME = "squeezenet1_1"
CLASSES = ["tabby", "goldfish", "Golden_retriever"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return folders of tiny images whose classes are called as asked."""

    def make(names):
        root = tmp_path_factory.mktemp("images")
        for number, name in enumerate(names):
            (root / name).mkdir()
            for copy in range(5):
                image = np.full((12, 12, 3), 40 * number + copy, np.uint8)
                Image.fromarray(image).save(root / name / f"{copy}.png")
        return root

    return make


@pytest.fixture(scope="module")
def photos(folders):
    return folders(CLASSES)


@pytest.fixture(autouse=True)
def said(caplog):
    paths.remark.cache_clear()
    caplog.set_level(logging.WARNING)
    return caplog


def node(*arguments):
    return read_command_line(arguments).configurations[0].node


@pytest.mark.extended
def test_names_of_weights_bring_side_and_crop(photos, said):
    data = node("model=inception_v3", "model.weights=IMAGENET1K_V1", f"data={photos}", "model.labels=fresh")["data"]
    assert (data["side"], data["crop_share"]) == (299, round(299 / 342, 6))
    assert "data.side=299, data.crop_share=0.874269: as inception_v3's weights are used to" in said.text


@pytest.mark.extended
def test_keys_that_are_given_stay(photos):
    arguments = ["model=inception_v3", "model.weights=DEFAULT", f"data={photos}", "data.side=150", "data.mean=[0,0,0]"]
    data = node(*arguments)["data"]
    assert (data["side"], data["mean"], data["crop_share"]) == (150, [0, 0, 0], round(299 / 342, 6))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("weights", ["default", "none", "weights.pth"])
def test_what_there_was_before_changes_nothing(photos, weights, tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    torch.save({}, "weights.pth")
    before = node("model=lenet_5", f"data={photos}")["data"]
    now = node("model=torchvision", "model.name=inception_v3", f"model.weights={weights}", f"data={photos}")
    assert now["data"] == before
    assert "class_rows" not in now["model"]
    assert ("model.weights=DEFAULT has the data follow" in said.text) == (weights == "default")


def test_data_that_say_nothing_of_preparation_are_left_alone():
    assert node("model=resnet18", "model.weights=DEFAULT")["data"] == node()["data"]


@pytest.mark.extended
def test_classes_known_by_name_keep_their_rows_in_the_datas_order(photos, said):
    model = node(f"model={NAME}", "model.weights=IMAGENET1K_V1", f"data={photos}")["model"]
    assert model["class_rows"] == [207, 1, 281]
    assert "the classifier keeps the rows of the data's 3 classes" in said.text
    fresh = node(f"model={NAME}", "model.weights=IMAGENET1K_V1", f"data={photos}", "model.labels=fresh")["model"]
    assert "class_rows" not in fresh and "labels" not in fresh


@pytest.mark.extended
def test_of_a_file_they_are_kept_where_that_is_asked_for(folders, tmp_path, said):
    torch.save({}, tmp_path / "w.pth")
    ids = folders(["n01443537", "n02123045-tabby"])
    arguments = [f"model={NAME}", f"model.weights={tmp_path / 'w.pth'}", f"data={ids}"]
    assert "class_rows" not in node(*arguments)["model"]
    assert "if so, model.labels=weights keeps their rows" in said.text
    assert node(*arguments, "model.labels=weights")["model"]["class_rows"] == [1, 281]


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("names", "arguments", "message"),
    [
        (["dog", "bird"], ["model.weights=DEFAULT"], "other classes: the data's classes are not among theirs"),
        (["tabby", "goldfish", "dog"], ["model.weights=DEFAULT"], "other classes: they have no dog"),
        (["tabby", "goldfish"], [], "the classes of these weights are not known"),
        (["tabby", "goldfish"], ["model.labels=maybe"], "model.labels=maybe: must be fresh or weights"),
    ],
)
def test_what_can_not_be_followed_is_refused_where_it_is_asked_for(folders, names, arguments, message):
    labels = [] if any("labels" in argument for argument in arguments) else ["model.labels=weights"]
    with pytest.raises(ValueError, match=message):
        node(f"model={NAME}", f"data={folders(names)}", *arguments, *labels)


@pytest.mark.extended
def test_unasked_a_part_of_the_classes_is_only_said(folders, said):
    model = node(f"model={NAME}", "model.weights=DEFAULT", f"data={folders(['tabby', 'goldfish', 'dog'])}")["model"]
    assert "class_rows" not in model
    assert "the classifier is fitted anew to the data's classes: they have no dog" in said.text


def test_the_rows_are_those_of_the_network_that_is_built(photos, monkeypatch):
    from effbench.plan.blueprint import Blueprint
    from effbench.plan.sources import build_network, load_data
    from effbench.tasks.classification import Classification

    torch.manual_seed(0)
    whole = torchvision.models.get_model(NAME).state_dict()
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: dict(whole))
    config = resolved(node(f"model={NAME}", "model.weights=DEFAULT", f"data={photos}", "train.precision=float32"))
    assert (config["train"]["epochs"], config["finetune"]["epochs"]) == (0, 0)
    data = load_data(Blueprint.from_node(config["data"]))
    model = build_network(Blueprint.from_node(config["model"]), Classification(), data, 224)
    assert torch.equal(model.classifier[1].weight, whole["classifier.1.weight"][[207, 1, 281]])


def test_the_home_folder_is_written_out_so_that_the_content_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save({}, tmp_path / "w.pth")
    assert node("model=lenet_5", "model.weights=~/w.pth")["model"]["weights"] == str(tmp_path / "w.pth")


class TestFoldersOfTransformers:
    @pytest.fixture
    def folder(self, tmp_path):
        labels = {"0": "goldfish", "1": "tabby, tabby cat", "2": "golden retriever"}
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "id2label": labels}))
        settings = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
        (tmp_path / "model.safetensors").write_bytes(b"")
        return tmp_path

    @pytest.mark.extended
    def test_its_files_preparation_and_labels(self, folder, photos):
        config = node(f"model=hf:{folder}", f"data={photos}")
        model, data = config["model"], config["data"]
        assert model["weights"] == str(folder / "model.safetensors")
        assert model["config"] == str(folder / "config.json")
        assert model["class_rows"] == [2, 0, 1]
        assert (data["side"], data["mean"], data["std"], data["crop_share"]) == (32, [0.5] * 3, [0.5] * 3, 1.0)

    @pytest.mark.extended
    @pytest.mark.parametrize("argument", ["model.pretrained=false", "model.weights=none"])
    def test_without_its_weights(self, folder, photos, argument):
        config = node(f"model=hf:{folder}", f"data={photos}", argument, "train.precision=float32")
        assert config["model"]["weights"] == "none"
        assert config["data"]["side"] == 224

    def test_it_comes_trained(self, folder):
        config = resolved(node(f"model=hf:{folder}", "train.precision=float32"))
        assert (config["train"]["epochs"], config["finetune"]["epochs"]) == (0, 0)
