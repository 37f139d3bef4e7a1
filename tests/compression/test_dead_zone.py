import torch
from torch import nn

from effbench.codec import encode
from effbench.compression.constraints.learned_grid import LearnedGrid, learned_grids
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import HeldGrid
from effbench.compression.constraints.stack import constrained_value, constraints_on, register
from effbench.compression.dead_zone import hold_learned_grids, reaches_of
from effbench.compression.duplicate import duplicate


def network():
    """Return a network with a mask before a grid, a tied weight on one, a bias on one, and a weight on none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3))
    model[2].weight = model[1].weight
    register(model[0], "weight", Mask(torch.rand(8, 8, generator=torch.Generator().manual_seed(1)) < 0.5))
    for places in ([(model[0], "weight")], [(model[1], "weight"), (model[2], "weight")], [(model[0], "bias")]):
        one = LearnedGrid(torch.tensor(0.07).log(), wanted_bits=1.0, coder="context")
        for place in places:
            register(*place, one)
    return model


def values_of(model):
    return [constrained_value(model[n], name) for n, name in ((0, "weight"), (0, "bias"), (1, "weight"), (2, "weight"))]


def test_each_grid_is_found_once_with_all_its_places():
    assert sorted(len(places) for _, places in learned_grids(network())) == [1, 1, 2]


def test_codes_stay_what_they_are_and_no_longer_move():
    model = network()
    held = hold_learned_grids(duplicate(model))
    assert not any(learned_grids(held))
    assert all(torch.equal(a, b) for a, b in zip(values_of(model), values_of(held), strict=True))
    assert encode(held, coder="context") == encode(model, coder="context")
    assert isinstance(constraints_on(held[0], "weight")[0], Mask)
    assert constraints_on(held[1], "weight")[-1] is constraints_on(held[2], "weight")[-1]
    assert isinstance(constraints_on(held[0], "bias")[-1], HeldGrid)
    assert held[1].parametrizations.weight.original is held[2].parametrizations.weight.original


def test_what_is_near_to_zero_becomes_zero():
    model = network()
    reaches = reaches_of(model)
    codes = [value for value in values_of(model)[:3] if value is not None]
    assert len(reaches) == sum(int((value != 0).sum()) for value in codes)
    assert torch.equal(reaches, reaches.sort().values)
    assert float(reaches[0]) > 0.5
    n = len(reaches) // 2
    held = hold_learned_grids(duplicate(model), reach=float(reaches[n - 1]))
    assert sum(int((value != 0).sum()) for value in values_of(held)[:3]) == len(reaches) - n
    assert all(bool(((b == a) | (b == 0)).all()) for a, b in zip(values_of(model), values_of(held), strict=True))


def test_a_network_without_grids_has_nothing_to_hold():
    plain = nn.Linear(3, 3)
    assert len(reaches_of(plain)) == 0
    assert not any(learned_grids(hold_learned_grids(plain)))
