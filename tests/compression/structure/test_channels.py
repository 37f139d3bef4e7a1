"""Channels go with all that depends on them; what can't be followed is refused."""

import copy

import pytest
import torch
from torch import nn

from effbench.compression.structure.channel_groups import Channels
from effbench.compression.structure.channels import remove_channels
from effbench.compression.structure.edits import edits_of, record_changes
from effbench.compression.structure.factorized import build_factored
from effbench.compression.structure.rebuild import apply_edits


class Residual(nn.Module):
    """Two branches that meet in a sum, with a batch norm and a depthwise convolution on the way."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.branch, self.depthwise = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.head = nn.Linear(6, 4)

    def forward(self, images):
        stem = torch.relu(self.norm(self.stem(images)))
        return self.head((stem + self.depthwise(self.branch(stem))).mean((2, 3)))


def seeded(build, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def images(n_channels=1, seed=0):
    return torch.randn(2, n_channels, 8, 8, generator=torch.Generator().manual_seed(seed))


def least_of_each(layers):
    """The first half of each layer's removals, by number."""
    sets = [channels.removals(torch.arange(channels.n, dtype=torch.float32)) for channels in layers]
    return [torch.cat(one[: len(one) // 2 + 1]) if one else torch.zeros(0, dtype=torch.int64) for one in sets]


def test_what_meets_in_a_sum_goes_together_and_the_outputs_stay():
    model, seen = seeded(Residual).eval(), []
    before = copy.deepcopy(model)

    def choose(layers):
        seen.extend((channels.n, [len(going) for going in channels.sets]) for channels in layers)
        return [torch.tensor([0, 3])]

    remove_channels(model, images(), choose)
    assert seen == [(6, [1] * 6)], "what the branch makes is added to it; the classes are no channels"
    assert [model.stem.out_channels, model.norm.num_features, model.depthwise.groups, model.head.in_features] == [4] * 4
    assert torch.equal(model.stem.weight, before.stem.weight[[1, 2, 4, 5]])
    assert model.head.out_features == 4


def test_it_computes_what_it_did_while_nothing_read_the_channels():
    model = seeded(Residual).eval()
    silenced = copy.deepcopy(model)
    remove_channels(model, images(), lambda layers: [torch.tensor([2, 5])])
    with torch.no_grad():
        silenced.branch.weight[:, [2, 5]] = 0
        silenced.head.weight[:, [2, 5]] = 0
        assert torch.allclose(model(images(seed=1)), silenced(images(seed=1)), atol=1e-5)


def test_modes_and_what_trains_stay_and_gradients_are_dropped():
    model = seeded(Residual)
    model.norm.eval()
    model.stem.bias.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    modes = {name: module.training for name, module in model.named_modules()}
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}

    def choose(layers):
        assert not any(module.training for module in model.modules())
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert model.head.weight.grad is not None, "what scores by gradients finds them"
        return least_of_each(layers)

    remove_channels(model, images(), choose)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == trained
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.stem.out_channels < 6


def test_groups_lose_equally_many_channels_each():
    model = seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Flatten(), nn.Linear(128, 3))
    )
    together = {}

    def choose(layers):
        together.update({channels.layer: [going.tolist() for going in channels.sets] for channels in layers})
        return least_of_each(layers)

    remove_channels(model, images(), choose)
    assert together == {"0": [[0, 4], [1, 5], [2, 6], [3, 7]], "1": [[0, 4], [1, 5], [2, 6], [3, 7]]}
    assert model[0].out_channels == model[1].in_channels == 4
    assert model[1].groups == 2
    assert model[1].out_channels == 4
    assert model[3].in_features == 4 * 16


def test_a_layer_keeps_a_channel_and_the_least_important_sets_go_first():
    channels = Channels(layer="layer", n=6, sets=tuple(torch.tensor([[0, 3], [1, 4], [2, 5]])))
    sets = channels.removals(torch.tensor([5.0, 1.0, 3.0, 4.0, 1.0, 0.0]))
    assert [going.tolist() for going in sets] == [[1, 4], [2, 5]]  # 0 and 3 are the most important


def test_the_inner_channels_of_factors_stay():
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 3)))
    model[1] = build_factored(model[1], "svd", (64, 4, 10))
    nn.init.normal_(model[1][0].weight)
    nn.init.normal_(model[1][1].weight)
    layers = []
    remove_channels(model, images(), lambda found: layers.extend(c.layer for c in found) or least_of_each(found))
    assert layers == ["1.1"]
    assert model[1].widths[:2] == (64, 4)


def test_the_smaller_network_can_be_rebuilt_from_its_edits():
    model = seeded(Residual)
    before = copy.deepcopy(model)
    remove_channels(model, images(), least_of_each)
    record_changes(before, model)
    fresh = seeded(Residual, seed=1)
    apply_edits(fresh, edits_of(model))
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.eval()(images()), model.eval()(images()))


class Flat(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3)
        self.how = forward

    def forward(self, images):
        return self.how(self, images)


REFUSED = {
    "none can be removed: all are outputs": lambda: nn.Sequential(nn.Conv2d(1, 4, 3)),
    "its forward pass names the number of channels": lambda: Flat(
        lambda self, images: self.last(self.first(images).view(-1, 4, 6, 6))
    ),
    "can't be followed through its forward pass": lambda: Flat(lambda self, images: self.last(images)),
    "first: index reorders or selects them": lambda: Flat(
        lambda self, images: self.last(self.first(images)[:, torch.arange(self.first.out_channels).flip(0)])
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_can_not_be_followed_is_refused(message):
    model = seeded(REFUSED[message])
    with pytest.raises(ValueError, match=message):
        remove_channels(model, images(), lambda layers: [torch.tensor([0]) for _ in layers])
    assert model.training
