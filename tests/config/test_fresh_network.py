"""The network of a command by itself: on the meta device, with its own classes, channels and side, or those of data."""

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.fresh_network import fresh_network

NETS = """
    import torch
    from torch import nn

    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(1, 2, 3), nn.LazyLinear(3)
            self.n_layers = int(torch.ones(2).sum())  # values are asked for: not on the meta device

        def forward(self, images):
            return self.head(self.stem(images).flatten(1))

    def lazy():
        return Lazy()

    def asks(num_classes, *, in_channels, input_side=12, width=4):
        return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * input_side**2, width), nn.Linear(width, num_classes))

    def broken(width=3):
        raise RuntimeError("no luck")

    def nothing():
        return 3
"""


@pytest.fixture
def fresh(own_folder, tmp_path, monkeypatch):
    own_folder({"own_nets.py": NETS}, name=".")
    monkeypatch.syspath_prepend(str(tmp_path))

    def build(*arguments, **options):
        return fresh_network(read_command_line(arguments), **options)

    return build


def n_parameters(found):
    return sum(parameter.numel() for parameter in found.network.parameters())


def on_meta(found):
    return all(parameter.is_meta for parameter in found.network.parameters())


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("arguments", "name", "size", "params"),
    [
        (["model=vgg16"], "vgg16", (3, 224, 224), 138_357_544),
        (["model=torchvision", "model.name=alexnet"], "alexnet", (3, 224, 224), 61_100_840),
        (["model=mobilenet_v1", "model.alpha=0.5"], "mobilenet_v1", (3, 224, 224), 1_331_592),
        (["model=lenet_300_100"], "lenet_300_100", (1, 28, 28), 266_610),
        (["model=own_nets:asks"], "own_nets:asks", (3, 12, 12), 3 * 144 * 4 + 4 + 4 * 1000 + 1000),
        (["model._target_=own_nets.asks", "+model.width=1"], "own_nets.asks", (3, 12, 12), 3 * 144 + 1 + 2000),
        (["task=segmentation"], "small_segmenter", (1, 64, 64), None),
    ],
)
def test_it_has_its_own_sizes(fresh, arguments, name, size, params):
    found = fresh(*arguments)
    assert (found.name, found.input_size, found.data) == (name, size, None)
    assert on_meta(found) and (params is None or n_parameters(found) == params)


def test_a_side_is_what_it_is_built_for(fresh):
    found = fresh("model=own_nets:asks", "model.in_channels=1", side=5)
    assert found.input_size == (1, 5, 5) and n_parameters(found) == 25 * 4 + 4 + 5000
    assert fresh("model=own_nets:asks", "model.input_side=7").input_size == (3, 7, 7)


@pytest.mark.extended
def test_it_follows_data(fresh):
    found = fresh("model=own_nets:asks", "data=digits", follows_data=True)
    assert (found.input_size, found.data) == ((1, 28, 28), "digits")
    assert n_parameters(found) == 784 * 4 + 4 + 40 + 10
    assert fresh("model=small_cnn", "data=digits", side=14, follows_data=True).input_size == (1, 14, 14)


def test_what_asks_for_values_is_built_on_the_cpu(fresh):
    found = fresh("model=own_nets:lazy", side=8)
    assert found.input_size == (1, 8, 8)
    assert not on_meta(found) and n_parameters(found) == 20 + 2 * 36 * 3 + 3


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=own_nets:broken"], r"own_nets.broken can't be built: RuntimeError: no luck \(own_nets.py, line"),
        (["model=own_nets:nothing"], "gives a int, not a torch.nn.Module"),
        (["model=own_nets:missing"], "missing"),
        (["model=small_cnn", "model.kernel=2"], r"model.kernel must be odd"),
        (["model=small_cnn", "model.kernel=x"], r"model\.kernel must be an odd number, .*got 'x'"),
        (["model=mobilenet_v1", "model.alpha=${no.such.key}"], "model.alpha: .*no.such.key"),
        (["model=mobilenet_v1", "+model.alpha=???"], "model.alpha: must be given, as in model.alpha=…"),
    ],
)
def test_what_can_not_be_built_is_told_in_a_line(fresh, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        fresh(*arguments)
    assert len(str(caught.value).splitlines()) == 1
