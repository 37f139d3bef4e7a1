"""What is known of weights: how images are prepared for them, and their classes."""

import json

import pytest

from effbench.models.weight_facts import hf_facts, timm_facts, torchvision_facts


@pytest.mark.parametrize(
    ("name", "weights", "side", "share"),
    [
        ("mobilenet_v2", "IMAGENET1K_V1", 224, 0.875),
        ("mobilenet_v2", "DEFAULT", 224, round(224 / 232, 6)),
        ("inception_v3", "default", 299, round(299 / 342, 6)),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", 384, 1.0),
    ],
)
def test_torchvisions_own_transforms(name, weights, side, share):
    facts = torchvision_facts(name, weights)
    assert (facts.side, facts.crop_share) == (side, share)
    assert facts.mean == (0.485, 0.456, 0.406)
    assert list(facts.classes[281]) == ["n02123045", "tabby"]


@pytest.mark.parametrize(
    ("settings", "side", "share"),
    [
        ({"size": {"height": 32, "width": 32}}, 32, 1.0),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}, 224, 0.875),
        ({"size": 256, "crop_size": 224, "do_center_crop": True}, 224, 0.875),
        ({"size": 224}, 224, 1.0),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 224, 0.875),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, 384, 1.0),
        ({"do_resize": False, "size": 64}, None, None),
        ({"size": {"longest_edge": 512}}, None, None),
        ({}, None, None),
    ],
)
def test_preprocessors_of_transformers(tmp_path, settings, side, share):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**settings, "image_mean": [0.5, 0.5, 0.5]}))
    facts = hf_facts(tmp_path)
    assert (facts.side, facts.crop_share, facts.mean, facts.std) == (side, share, (0.5, 0.5, 0.5), None)


def test_images_that_are_not_normalised_have_mean_0_and_deviation_1(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False, "image_mean": [0.5] * 3}))
    assert (hf_facts(tmp_path).mean, hf_facts(tmp_path).std) == ((0.0,) * 3, (1.0,) * 3)


def test_labels_of_transformers_are_in_the_order_of_their_numbers(tmp_path):
    labels = {"10": "ten", "2": "two, 2", "0": "zero"}
    (tmp_path / "config.json").write_text(json.dumps({"id2label": labels}))
    assert [names[-1] for names in hf_facts(tmp_path).classes] == ["zero", "2", "ten"]
    assert "two" in hf_facts(tmp_path).classes[1]


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"id2label": {"a": "b"}}', '{"id2label": []}'])
def test_files_that_say_nothing_are_no_error(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    facts = hf_facts(tmp_path)
    assert (list(facts.classes), facts.data_options()) == ([], {})


def test_timms_settings():
    pytest.importorskip("timm", reason="timm is an extra: pip install 'effbench[timm]'")
    facts = timm_facts("resnet10t.c3_in1k")
    assert (facts.side, facts.crop_share, facts.interpolation) == (176, 0.875, "bicubic")
    assert list(facts.classes[281][:2]) == ["n02123045", "tabby"]
