import pytest
import torch
from torch import nn

from effbench.compression.layers import weight_layers
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.rewind import Rewind
from effbench.stages.train import Train


def test_the_early_values_are_back_where_the_mask_leaves_them(toy_data, toy_network, make_context):
    context = make_context(toy_data, snapshot=lambda name: {"init": toy_network()}[name])
    trained = Train(epochs=2, lr=1e-2).apply(toy_network(), context)
    pruned = Prune(ratio=0.6).apply(trained, context)
    rewound = Rewind().apply(pruned, context)
    fresh = toy_network()
    for (_, early), (_, ticket), (_, late) in zip(*map(weight_layers, (fresh, rewound, pruned)), strict=True):
        mask = late.weight != 0
        assert 0 < int(mask.sum()) < mask.numel()
        assert torch.equal(ticket.weight, torch.where(mask, early.weight, 0.0))
        assert not torch.equal(ticket.weight, late.weight)
    for name, value in fresh.state_dict().items():  # biases, batch norm and its statistics, too
        if name not in ("0.weight", "5.weight"):
            assert torch.equal(rewound.state_dict()[name], value)
            assert not torch.equal(trained.state_dict()[name], value)


def test_it_asks_for_the_step_that_it_names(toy_data, toy_network, make_context):
    asked = []
    context = make_context(
        toy_data,
        snapshot=lambda name: asked.append(name) or Prune(ratio=0.3).apply(toy_network(seed=5), make_context(toy_data)),
    )
    rewound = Rewind(to="early").apply(toy_network(), context)
    assert asked == ["early"] and Rewind(to="early").asks_for == ("early",)
    assert torch.equal(rewound[5].bias, toy_network(seed=5)[5].bias)
    assert 100 < int((rewound[5].weight == 0).sum()) < 384  # of an earlier network with a mask: its values in use


def test_a_quantiser_stays_and_rounds_the_early_values(toy_data, toy_network, make_context):
    context = make_context(toy_data, snapshot=lambda name: toy_network(seed=3))
    rewound = Rewind().apply(Quantize(bits=3).apply(toy_network(), context), context)
    expected = Quantize(bits=3).apply(toy_network(seed=3), context)
    assert torch.equal(rewound[5].weight, expected[5].weight)


def test_a_network_of_another_form_is_refused(toy_data, toy_network, make_context):
    narrower = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), *toy_network()[1:])
    context = make_context(toy_data, snapshot=lambda name: toy_network())
    with pytest.raises(ValueError, match=r"rewind: 0\.bias is not what it was at init, .* rewind before a stage"):
        Rewind().apply(narrower, context)


def test_without_a_recipe_there_is_no_earlier_network(toy_data, toy_network, make_context):
    from effbench.plan.context import Context

    context = make_context(toy_data)
    plain = Context(
        **{
            name: getattr(context, name)
            for name in ("data", "task", "side", "seed", "step", "device", "evaluate", "cost")
        }
    )
    with pytest.raises(ValueError, match="init: no earlier network is at hand here"):
        Rewind().apply(toy_network(), plain)


def test_what_names_no_step_is_refused():
    with pytest.raises(ValueError, match=r"^to= : must be text; init, or the name of a step before, such as train$"):
        Rewind(to=" ")


def test_a_winning_ticket_needs_its_initial_weights(digits_data, make_context):
    """At 5 % of the weights, the mask found by training is worth more with the weights that it was found from."""

    def network(seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))

    train = Train(epochs=3, lr=3e-3)
    accuracy = {"own": 0.0, "others": 0.0}
    for seed in (0, 1):
        context = make_context(digits_data, seed=seed, step="train")
        pruned = Prune(ratio=0.95).apply(train.apply(network(seed), context), context)
        for whose, start in (("own", seed), ("others", seed + 100)):
            context = make_context(
                digits_data, seed=seed, step="train/1", snapshot=lambda name, start=start: network(start)
            )
            accuracy[whose] += context.evaluate(train.apply(Rewind().apply(pruned, context), context)) / 2
    assert accuracy["own"] > accuracy["others"] + 0.01, accuracy
