import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from effbench.compression.constraints.layer_inputs import InputGrid, set_input
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import hold
from effbench.compression.structure.convolutions import FIRST, find_convolutions
from effbench.compression.structure.edits import add_bias
from effbench.compression.structure.rewritten import Norm

IMAGES = torch.zeros(1, 2, 9, 9)


def wrapped(layer):
    """A network in whose middle a layer stands."""
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), layer, nn.Conv2d(4, 4, 1))


class Own(nn.Conv2d):
    def forward(self, images):
        return 2 * super().forward(images)


class Reading(nn.Module):
    """Uses a convolution's weight, and does not call it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)

    def forward(self, images):
        return nn.functional.conv2d(images, self.conv.weight)


def tied():
    network = wrapped(nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)))
    network[1][1].weight = network[1][0].weight
    return network


def changed(change):
    layer = nn.Conv2d(4, 4, 3, bias=False)
    change(layer)
    return wrapped(layer)


def freeze(layer):
    layer.requires_grad_(False)


def with_forward(layer):
    layer.forward = lambda images: images


KEPT = {
    "it is transposed": lambda: wrapped(nn.ConvTranspose2d(4, 4, 3)),
    "it has groups already": lambda: wrapped(nn.Conv2d(4, 4, 3, groups=2)),
    "a Own computes in a way of its own": lambda: wrapped(Own(4, 4, 3)),
    "a Conv2d computes in a way of its own": lambda: changed(with_forward),
    "its weight is made of other tensors": lambda: wrapped(parametrizations.weight_norm(nn.Conv2d(4, 4, 3))),
    "a batch norm was folded into it": lambda: changed(add_bias),
    "its weight stands elsewhere, too, or is no parameter": tied,
    "it is frozen: what would replace it could not be trained": lambda: changed(freeze),
    "it has a hook": lambda: changed(lambda layer: layer.register_forward_hook(lambda *_: None)),
    "the forward pass does not call it": lambda: wrapped(Reading()),
}  # fmt: skip


@pytest.mark.parametrize("reason", KEPT)
def test_what_can_not_be_rewritten_stays_for_a_reason(reason):
    network = KEPT[reason]()
    found = find_convolutions(network, IMAGES)
    assert found.kept.pop("0") == FIRST
    assert set(found.kept.values()) == {reason}
    assert not found.layers
    assert not any(hook for layer in (network[0], network[2]) for hook in layer._forward_hooks)


TAKEN = {
    "plain": lambda: wrapped(nn.Conv2d(4, 4, 3)),
    "called twice": lambda: wrapped(nn.Sequential(*[nn.Conv2d(4, 4, 3)] * 2)),
    "one of a class that does what torch's does": lambda: wrapped(type("Named", (nn.Conv2d,), {})(4, 4, 3)),
    "under a mask": lambda: changed(lambda layer: hold(layer, Mask(layer.weight > 0))),
    "with an input that is imposed on": lambda: changed(
        lambda layer: set_input(layer, InputGrid.between(-1, 1, bits=8))
    ),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_torch_runs_can_be_rewritten(name):
    found = find_convolutions(TAKEN[name](), IMAGES)
    assert found.kept == {"0": FIRST}
    assert len(found.layers) == 1
    assert not found.norms


class TwoStems(nn.Module):
    def __init__(self):
        super().__init__()
        self.later, self.early = nn.Conv2d(3, 3, 3), nn.Conv2d(2, 3, 3)
        self.beside = nn.Conv2d(2, 3, 3)

    def forward(self, images):
        return self.later(self.early(images) + self.beside(images))


def test_all_that_is_given_the_input_reads_it_and_so_does_the_first_that_runs():
    assert find_convolutions(TwoStems(), IMAGES).kept == {"early": FIRST, "beside": FIRST}
    centred = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3))
    assert find_convolutions(centred, IMAGES).kept == {"1": FIRST}
    assert list(find_convolutions(TwoStems(), IMAGES, first=True).layers) == ["later", "early", "beside"]
    assert find_convolutions(nn.Conv2d(2, 4, 3), IMAGES, first=True).kept == {"": "it is the network"}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(2, 2, 3), (1, 2, 9)),
        (nn.Conv3d(2, 2, (3, 1, 1)), (1, 2, 9, 9, 9)),
        (nn.Conv2d(2, 2, (1, 3)), (1, 2, 9, 9)),
    ],
)
def test_kernels_of_any_form_and_dimension_are_convolutions_but_for_pointwise_ones(layer, shape):
    kind = type(layer)
    found = find_convolutions(nn.Sequential(kind(2, 2, 1), layer), torch.zeros(shape))
    assert list(found.layers) == ["1"]
    assert not found.kept


def test_a_network_that_normalises_convolutions_has_its_settings_for_all_of_them():
    network = nn.Sequential(
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 4, 3),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.BatchNorm2d(4, eps=1e-3),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.BatchNorm2d(4, momentum=0.2),
        nn.Conv2d(4, 4, 3),
    )
    found = find_convolutions(network, IMAGES)
    assert [found.norm_of(network[n]) for n in (2, 5, 7)] == [
        Norm(10**6, 10**5),
        Norm(10**4, 2 * 10**5),
        Norm(10**6, 10**5),
    ]
    assert find_convolutions(network[:3], IMAGES).norm_of(network[2]) is None


def test_nothing_is_allocated_for_a_network_without_memory():
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3))
    assert list(find_convolutions(network, IMAGES.to("meta")).layers) == ["1"]
