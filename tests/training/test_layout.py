"""Convolutions that torch may not train in channels_last: found while a network runs, tried in a child."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effbench.training import layout
from effbench.training.layout import StridedPointwise, WatchStridedPointwise, fails_in_channels_last

LAYER = StridedPointwise(64, 64, 48, 48, (2, 2))


def found_in(network, side=64, channels=3):
    with torch.inference_mode(), WatchStridedPointwise() as watch:
        network.eval()(torch.zeros(1, channels, side, side))
    return sorted(watch.found)


class ByKeyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 1, stride=2)

    def forward(self, x):
        return self.a(input=x)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(8, 3, 1, 1))

    def forward(self, x):
        return F.conv2d(x, self.w, stride=2)


@pytest.mark.parametrize(
    "network",
    [nn.Conv2d(3, 8, 1, stride=2), nn.Sequential(nn.Identity(), nn.Conv2d(3, 8, 1, 2)), ByKeyword(), Functional()],
    ids=["module", "within", "by keyword", "function"],
)
def test_strided_pointwise_convolutions_are_found(network):
    assert found_in(network) == [StridedPointwise(3, 8, 64, 64, (2, 2))]


def test_a_transposed_one_is_found_by_the_images_that_it_makes():
    network = nn.Sequential(nn.MaxPool2d(2), nn.ConvTranspose2d(3, 8, 1, stride=2, output_padding=1))
    assert found_in(network) == [StridedPointwise(3, 8, 32, 32, (2, 2), (1, 1), True)]


@pytest.mark.parametrize(
    "network",
    [
        nn.Conv2d(3, 8, 3, stride=2),
        nn.Conv2d(3, 8, 1),
        nn.Conv2d(3, 9, 1, stride=2, groups=3),
        nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 8, 1, stride=2)),
    ],
    ids=["kernel", "no stride", "groups", "one dimension"],
)
def test_other_convolutions_are_not(network):
    assert found_in(network) == []


def test_nor_are_those_that_meet_small_images():
    assert found_in(nn.Conv2d(3, 8, 1, stride=2), side=layout.LEAST_SIDE - 1) == []


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("trial", "fails"),
    [
        ("pass", False),
        ("import os; os.abort()", True),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", True),
        ("import sys; sys.exit(3)", True),  # the gradient is wrong
        ("raise MemoryError", False),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", False),  # memory ran out
        ("import time; time.sleep(60)", True),
    ],
)
def test_only_a_crash_a_hang_or_a_wrong_gradient_counts(monkeypatch, trial, fails):
    monkeypatch.setattr(layout, "_TRIAL", trial)
    monkeypatch.setattr(layout, "_SECONDS", 2 if "sleep" in trial else 60)
    assert fails_in_channels_last(LAYER) is fails


def test_a_child_that_can_not_be_started_says_nothing(monkeypatch):
    monkeypatch.setattr(layout.sys, "executable", "/nowhere/python")
    assert fails_in_channels_last(LAYER) is False


@pytest.mark.extended
@pytest.mark.parametrize("transposed", [False, True])
def test_a_layer_is_tried_for_real(transposed):
    """One of many channels, which no processor was seen to fail on."""
    padding = (1, 1) if transposed else (0, 0)
    assert fails_in_channels_last(StridedPointwise(64, 64, 48, 48, (2, 2), padding, transposed)) is False


def test_images_and_filters_get_a_layout_and_volumes_stay_as_they_are():
    network = nn.Sequential(nn.Conv3d(1, 8, 3), nn.Conv2d(3, 8, 3), nn.Linear(4, 4))
    volume = network[0].weight.stride()
    layout.set_layout(network, "channels_last")
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert not network[1].weight.is_contiguous()
    assert network[0].weight.stride() == volume
    layout.set_layout(network, "contiguous")
    assert network[1].weight.is_contiguous()
