import json

import pytest

from effbench.models.usual_sizes import usual_sizes

TORCHVISION, TIMM, HF = (f"effbench.models.{name}_model" for name in ("torchvision", "timm", "hf"))


@pytest.mark.parametrize(
    ("name", "side"), [("vgg16", 224), ("inception_v3", 299), ("efficientnet_b1", 240), ("regnet_y_128gf", 384)]
)
def test_torchvision_says_what_its_weights_take(name, side):
    assert usual_sizes(TORCHVISION, {"name": name}) == {"input_side": side}


def test_timm_says_what_its_weights_take():
    pytest.importorskip("timm")
    assert usual_sizes(TIMM, {"name": "swinv2_tiny_window8_256"}) == {"input_side": 256}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"image_size": 32, "id2label": {"0": "a", "1": "b"}}, {"input_side": 32, "num_classes": 2}),
        ({"image_size": [64, 64]}, {"input_side": 64}),
        ({}, {}),
        (None, {}),
    ],
)
def test_a_folder_of_transformers_says_it_in_its_configuration(tmp_path, content, found):
    path = tmp_path / "config.json"
    path.write_text("no JSON" if content is None else json.dumps(content))
    assert usual_sizes(HF, {"name": str(tmp_path), "config": str(path)}) == found


def test_who_says_nothing():
    assert usual_sizes(TORCHVISION, {"name": "no such network"}) == {}
    assert usual_sizes(HF, {"name": "x"}) == usual_sizes("my_nets.net", {}) == {}
    assert usual_sizes(HF, {"name": "x", "config": "not there"}) == {}
