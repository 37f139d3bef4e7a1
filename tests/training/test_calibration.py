"""Grids for the inputs of layers, from what goes into them while the network runs."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from effbench.training.calibration import RangeRule, calibrate, first_images

CPU = torch.device("cpu")
max_of = partial(calibrate, rule=RangeRule(covered="max", percentile=100.0), device=CPU)


def batches(data, n=60):
    return (images for images, _ in data.batches("train", side=8, batch_size=n))


class Spiked(nn.Module):
    """One input of the layer in some thousand is thirty times larger."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def into_layer(self, images):
        spiked = images.flatten(1).relu()
        return torch.cat([spiked[:, :-1], spiked[:, -1:] * 30], dim=1)

    def forward(self, images):
        return self.layer(self.into_layer(images))


def test_the_whole_range_is_covered_with_zero_on_the_grid(toy_data, toy_network):
    network = toy_network().eval()
    grids = max_of(network, {"0": network[0], "5": network[5]}, batches(toy_data), bits={"0": 8, "5": 4})
    images = torch.cat(list(batches(toy_data)))
    with torch.no_grad():
        into_linear = network[:5](images)
    assert grids["0"].scale == pytest.approx(float(images.max() - images.min()) / 255, rel=1e-3)
    assert grids["5"].scale == pytest.approx(float(into_linear.max()) / 15, rel=1e-4)
    assert grids["5"].zero_point == 0
    assert {name: grid.bits for name, grid in grids.items()} == {"0": 8, "5": 4}
    assert float(grids["0"].round(torch.zeros(1))) == 0


def test_a_range_without_outliers_serves_the_others(toy_data):
    """The range `max` spends its levels on the one input that is larger."""
    model = Spiked()
    exact = model.into_layer(torch.cat(list(batches(toy_data))))
    error = {}
    for kind in ("max", "percentile", "mse"):
        grids = calibrate(
            model,
            {"layer": model.layer},
            batches(toy_data),
            bits={"layer": 4},
            rule=RangeRule(covered=kind, percentile=98),
            device=CPU,
        )
        difference = grids["layer"].round(exact) - exact
        error[kind] = (float(difference.square().mean()), float(difference[:, :-1].square().mean()))
    assert error["mse"][0] <= error["max"][0]
    assert error["percentile"][1] < 0.3 * error["max"][1]


def test_percentiles_are_those_of_each_sign_without_the_zeros():
    values = torch.cat([torch.zeros(900), torch.linspace(0.1, 10, 100), -torch.linspace(0.01, 1, 100)])
    layer = nn.Linear(1, 1)
    grids = calibrate(
        layer,
        {"": layer},
        [values[:, None]],
        bits={"": 8},
        rule=RangeRule(covered="percentile", percentile=90.0),
        device=CPU,
    )
    grid = grids[""]
    low, high = -grid.zero_point * grid.scale, (255 - grid.zero_point) * grid.scale
    assert high == pytest.approx(9, abs=0.1)
    assert low == pytest.approx(-0.9, abs=0.1)


def test_batches_of_any_size_give_the_same_grids(toy_data, toy_network):
    network = toy_network()
    for kind in ("max", "percentile", "mse"):
        one, other = (
            calibrate(
                network,
                {"5": network[5]},
                batches(toy_data, n),
                bits={"5": 8},
                rule=RangeRule(covered=kind, percentile=99.0),
                device=CPU,
            )["5"]
            for n in (7, 203)
        )
        assert one.scale == pytest.approx(other.scale, rel=1e-5)
        assert one.zero_point == other.zero_point


def test_a_layer_that_does_not_run_has_no_grid_and_the_network_stays_as_it_was(toy_data, toy_network):
    network = toy_network().train()
    network.unused = nn.Linear(3, 3)
    with torch.no_grad():
        network.forward = network[:6].forward
    before = copy.deepcopy(network.state_dict())
    grids = max_of(network, {"5": network[5], "unused": network.unused}, batches(toy_data), bits={"5": 8, "unused": 8})
    assert grids.keys() == {"5"}
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not network[5]._forward_pre_hooks


def test_without_layers_nothing_is_calibrated(toy_data, toy_network):
    assert max_of(toy_network(), {}, batches(toy_data), bits={}) == {}


def test_an_input_that_is_not_finite_is_named(toy_data, toy_network):
    network = toy_network()
    with torch.no_grad():
        network[0].bias.fill_(torch.inf)
    with pytest.raises(ValueError, match=r"^the input of 5 is not finite: it can't be quantised$"):
        max_of(network, {"5": network[5]}, batches(toy_data), bits={"5": 8})
    assert not network[5]._forward_pre_hooks


@pytest.mark.parametrize(("n_wanted", "sizes"), [(1, [1]), (60, [60]), (100, [60, 40]), (500, [60, 60, 60, 23])])
def test_the_first_images_are_as_many_as_wanted_or_all(toy_data, n_wanted, sizes):
    found = list(first_images(toy_data.batches("train", side=8, batch_size=60), n_wanted))
    assert [len(images) for images in found] == sizes
    everything = torch.cat(list(batches(toy_data)))
    assert torch.equal(torch.cat(found), everything[: sum(sizes)])


@pytest.mark.parametrize("covered", ["max", "percentile", "mse"])
def test_scales_that_are_powers_of_two(toy_data, toy_network, covered):
    network = toy_network().eval()
    layers = {"0": network[0], "5": network[5]}
    real, fixed = (
        calibrate(
            network,
            layers,
            batches(toy_data),
            bits={"0": 8, "5": 4},
            rule=RangeRule(covered=covered, percentile=99.0, scale=scale),
            device=CPU,
        )
        for scale in ("real", "power_of_two")
    )
    for name, grid in fixed.items():
        assert math.frexp(grid.scale)[0] == 0.5 and 0 <= grid.zero_point < 2**grid.bits
        if covered != "mse":  # which may cut more off
            assert 1 <= grid.scale / real[name].scale < 2
