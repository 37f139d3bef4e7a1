"""Multiply-adds and parameters of torchvision's networks, against those that it publishes."""

import pytest
import torch
import torchvision

from effbench.measure.compute import count_cost
from effbench.models import torchvision_model


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("alexnet", 61_100_840, 714_188_480),
        ("vgg16", 138_357_544, 15_470_264_320),
        ("resnet50", 25_557_032, 4_089_184_256),
        ("mobilenet_v2", 3_504_872, 300_774_272),
    ],
)
def test_counts_that_torchvision_publishes(name, params, macs):
    with torch.device("meta"):
        cost = count_cost(torchvision_model(name=name), (3, 224, 224))
    assert (cost.params, cost.macs, cost.params_nonzero, cost.macs_effective) == (params, macs, params, macs)


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("convnext_tiny", 224),
        ("densenet121", 224),
        ("efficientnet_b0", 224),
        ("googlenet", 224),
        ("inception_v3", 299),
        ("maxvit_t", 224),
        ("mnasnet1_0", 224),
        ("mobilenet_v3_large", 224),
        ("regnet_y_400mf", 224),
        ("resnext50_32x4d", 224),
        ("shufflenet_v2_x1_0", 224),
        ("squeezenet1_0", 224),
        ("swin_t", 224),
        ("swin_v2_t", 256),
        ("vit_b_16", 224),
    ],
)
def test_every_family_of_torchvision_is_known(name, side):
    # regnet computes its widths with tensors: it can't be built on meta.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = torchvision_model(name=name, input_side=224)
    cost = count_cost(model, (3, side, side))
    published = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta["_ops"]
    assert cost.unknown == ()
    assert cost.macs / 1e9 == pytest.approx(published, abs=0.001)
