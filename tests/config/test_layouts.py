"""Networks that torch can't train in channels_last on this processor are trained contiguous, and their keys say so."""

import logging

import pytest
from torch import nn

from effbench.config import layouts
from effbench.config.read import read_sweep

STRIDED = "model._target_=strided_networks.strided"


@pytest.fixture(autouse=True)
def strided_networks(tmp_path, monkeypatch):
    (tmp_path / "strided_networks.py").write_text(
        "from torch import nn\n\n"
        "def strided(num_classes, in_channels, alpha=1.0):\n"
        "    n = int(8 * alpha)\n"
        "    layers = nn.Conv2d(in_channels, n, 3), nn.Conv2d(n, 16, 1, stride=2), nn.AdaptiveAvgPool2d(1)\n"
        "    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tried(monkeypatch):
    """Return the layers that were tried; those of 8 input channels fail."""
    layouts._fails_here.cache_clear()
    layouts._say.cache_clear()
    found = []
    monkeypatch.setattr(layouts, "fails_in_channels_last", lambda layer: found.append(layer) or layer.in_channels == 8)
    return found


def layouts_of(point):
    return {step.stage.layout for step in point.chain.plain_steps if step.stage.TRAINS}


def test_where_it_fails_another_layout_is_used_and_is_part_of_the_key(tried, caplog):
    with caplog.at_level(logging.WARNING):
        points = read_sweep([STRIDED, "data.side=64", "+prune=0.5"]).plan.points
    assert [layouts_of(point) for point in points] == [{"contiguous"}] * 2
    asked = read_sweep([STRIDED, "data.side=64", "+prune=0.5", "train.layout=contiguous"]).plan.points
    assert [point.key for point in asked] == [point.key for point in points]
    assert {point.config["train"]["layout"] for point in points} == {"contiguous"}
    assert {point.config["stage"]["finetune"]["layout"] for point in points} == {"contiguous"}
    (said,) = caplog.messages
    assert "strided_networks.strided" in said and said.endswith("trained with train.layout=contiguous")
    assert len(tried) == 1


def test_each_network_of_a_sweep_keeps_what_it_can_be_trained_in(tried):
    points = read_sweep([STRIDED, "data.side=64", "+alpha=1,2"]).plan.points
    assert [layouts_of(point) for point in points] == [{"contiguous"}, {"channels_last"}]
    assert points[1].config["train"]["layout"] == "channels_last"


def test_small_images_and_other_layouts_are_not_tried(tried):
    for arguments in ([STRIDED], ["+prune=0.5"], [STRIDED, "data.side=64", "train.layout=contiguous"]):
        read_sweep(arguments)
    assert tried == []


def test_the_store_keeps_the_answer_and_a_dry_run_leaves_none(tried, tmp_path):
    command = [STRIDED, "data.side=64", "+prune=0.5"]
    read_sweep([*command, "dry_run=true"])
    assert not (tmp_path / ".effbench").exists()
    for _ in range(2):
        layouts._fails_here.cache_clear()
        read_sweep(command)
    assert len(tried) == 2


def test_a_teacher_is_trained_in_what_it_can_be_whatever_its_student_is(tried):
    _, student, _ = read_sweep([STRIDED, "data.side=64", "+alpha=2", "+distill=0.5"]).plan.points
    assert layouts_of(student) == {"channels_last"}
    teachers = [step.teacher for step in student.chain.plain_steps if step.teacher]
    assert {step.stage.layout for teacher in teachers for step in teacher.plain_steps} == {"contiguous"}


def test_networks_on_another_device_are_left_alone(tried, monkeypatch):
    (point, _) = read_sweep([STRIDED, "data.side=64", "+prune=0.5"]).plan.points
    monkeypatch.setattr(layouts, "resolve_device", lambda name: layouts.torch.device("meta"))
    node = {"device": "auto", "store": {"root": ".effbench"}, "dry_run": True}
    tried.clear()
    layouts._fails_here.cache_clear()
    assert layouts.trainable(point.chain, node) is point.chain
    assert tried == []
    assert isinstance(point.chain.fresh_network(), nn.Module)
