import copy
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import bake, constraints_on
from effbench.compression.layers import weight_layers, weights_of
from effbench.stages.prune import Prune, adapted, ranks_in_row
from effbench.stages.train import Train
from effbench.training.evaluation import evaluate

CRITERIA = ("magnitude", "gradient", "activation", "random")


def zeros(model):
    """Of each weight layer: how many weights are zero, and how many there are."""
    return [(int((layer.weight == 0).sum()), layer.weight.numel()) for _, layer in weight_layers(model)]


def share_of_zeros(model):
    return sum(n for n, _ in zeros(model)) / sum(n for _, n in zeros(model))


@pytest.fixture(scope="module", params=[0, 1])
def trained_on_digits(request, digits_data, make_context, train_perceptron):
    """A trained perceptron (91 % correct), with the context it was trained in."""
    context = make_context(digits_data, seed=request.param, step="train")
    return train_perceptron(context, epochs=5), context


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.999])
def test_the_share_of_zeros_is_the_ratio(toy_data, toy_network, make_context, criterion, scope, ratio):
    pruned = Prune(ratio=ratio, criterion=criterion, scope=scope).apply(toy_network(), make_context(toy_data))
    if scope == "layer":
        assert [n for n, _ in zeros(pruned)] == [math.floor(ratio * n + 0.5) for _, n in zeros(pruned)]
    else:
        total = sum(n for _, n in zeros(pruned))
        assert sum(n for n, _ in zeros(pruned)) == math.floor(ratio * total + 0.5)


def test_biases_and_norms_are_left_alone(toy_data, toy_network, make_context):
    network = toy_network()
    pruned = bake(Prune(ratio=0.9).apply(network, make_context(toy_data)))
    for name, tensor in network.state_dict().items():
        if name not in ("0.weight", "5.weight"):
            assert torch.equal(pruned.state_dict()[name], tensor)


def test_magnitude_removes_the_smallest_weights_of_all_layers_or_of_each(toy_data, toy_network, make_context):
    network = toy_network()
    with torch.no_grad():
        network[0].weight *= 100  # the whole first layer is larger than anything in the second
    everywhere = Prune(ratio=0.5).apply(network, make_context(toy_data))
    assert zeros(everywhere)[0][0] == 0
    for model in (everywhere, Prune(ratio=0.5, scope="layer").apply(network, make_context(toy_data))):
        for (_, before), (_, after) in zip(weight_layers(network), weight_layers(model), strict=True):
            removed, kept = before.weight[after.weight == 0].abs(), before.weight[after.weight != 0].abs()
            assert not len(removed) or removed.max() <= kept.min()
            assert torch.equal(after.weight[after.weight != 0], before.weight[after.weight != 0])


def test_magnitude_beats_random_on_a_trained_network(trained_on_digits):
    model, context = trained_on_digits
    accuracy = {c: context.evaluate(Prune(ratio=0.9, criterion=c).apply(model, context)) for c in CRITERIA}
    # Seen over four seeds: 0.76 to 0.85 by magnitude, 0.67 to 0.80 by gradient, 0.12 to 0.20 at random.
    assert accuracy["magnitude"] > accuracy["random"] + 0.4
    assert accuracy["gradient"] > accuracy["random"] + 0.3


def test_the_gradient_criterion_ranks_otherwise_than_magnitude(trained_on_digits):
    model, context = trained_on_digits
    masks = [Prune(ratio=0.5, criterion=c).apply(model, context)[1].weight != 0 for c in ("gradient", "magnitude")]
    assert 0.05 < (masks[0] != masks[1]).float().mean() < 0.6


class WithoutLastInputs(nn.Module):
    """Flatten, and set the last 20 inputs to zero."""

    def forward(self, images):
        inputs = images.flatten(1).clone()
        inputs[:, -20:] = 0
        return inputs


@pytest.mark.parametrize("criterion", ["gradient", "activation"])
def test_a_criterion_that_sees_data_removes_the_weights_of_a_useless_input_first(toy_data, make_context, criterion):
    layer = nn.Linear(64, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, 64, generator=torch.Generator().manual_seed(0)))
        layer.weight[:, -20:] = 5.0  # useless, and the largest of all
    network = nn.Sequential(WithoutLastInputs(), layer)
    by_data, by_magnitude = (
        Prune(ratio=20 / 64, criterion=one).apply(network, make_context(toy_data))[1].weight == 0
        for one in (criterion, "magnitude")
    )
    assert by_data[:, -20:].all() and not by_data[:, :-20].any()
    assert not by_magnitude[:, -20:].any()


def test_the_gradient_criterion_is_that_of_the_mean_loss(toy_data, toy_network, make_context):
    network = toy_network().eval()
    images, labels = next(toy_data.batches("train", side=8, batch_size=1000))
    nn.functional.cross_entropy(network(images), labels).backward()
    scores = torch.cat([(layer.weight * layer.weight.grad).abs().flatten() for _, layer in weight_layers(network)])
    pruned = Prune(ratio=0.3, criterion="gradient").apply(network, make_context(toy_data))
    mask = torch.cat([(layer.weight != 0).flatten() for _, layer in weight_layers(pruned)])
    assert scores[mask].min() >= scores[~mask].max() - 1e-6


def test_the_gradient_criterion_takes_a_layer_that_never_runs(toy_data, toy_network, make_context):
    network = toy_network()
    network[5].head = nn.Linear(3, 5)  # registered, but no part of the forward pass
    pruned = Prune(ratio=0.03, criterion="gradient").apply(network, make_context(toy_data))
    assert zeros(pruned) == [(0, 54), (0, 384), (round(0.03 * (54 + 384 + 15)), 15)]


def test_the_gradient_criterion_leaves_no_gradients_behind(toy_data, toy_network, make_context):
    network = toy_network()
    pruned = Prune(ratio=0.5, criterion="gradient").apply(network, make_context(toy_data))
    assert all(p.grad is None for model in (network, pruned) for p in model.parameters())


@pytest.mark.parametrize("n_rounds", [1, 2, 3, 5])
def test_rounds_lead_to_the_ratio_and_each_removes_the_same_share_of_what_remains(n_rounds):
    ratios = [Prune(ratio=0.9, criterion="random").at_round(k, n_rounds).ratio for k in range(1, n_rounds + 1)]
    assert ratios[-1] == pytest.approx(0.9, abs=1e-12)
    kept = [1.0, *(1 - ratio for ratio in ratios)]
    shares = [after / before for before, after in pairwise(kept)]
    assert shares == pytest.approx([0.1 ** (1 / n_rounds)] * n_rounds)
    assert Prune(ratio=0.9, criterion="random").at_round(1, n_rounds).criterion == "random"


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_second_pruning_tightens_the_first_mask(toy_data, toy_network, make_context, criterion):
    context = make_context(toy_data)
    first = Prune(ratio=0.5, criterion=criterion).apply(toy_network(), context)
    state = copy.deepcopy(first.state_dict())
    second = Prune(ratio=0.8, criterion=criterion).apply(first, make_context(toy_data, step="prune/1"))
    assert share_of_zeros(second) == pytest.approx(0.8, abs=0.002)
    for (_, one), (_, other) in zip(weight_layers(first), weight_layers(second), strict=True):
        assert (other.weight[one.weight == 0] == 0).all()
        assert [type(constraint) for constraint in constraints_on(other, "weight")] == [Mask]
    assert all(torch.equal(tensor, state[name]) for name, tensor in first.state_dict().items())
    assert share_of_zeros(first) == pytest.approx(0.5, abs=0.002)


def test_a_smaller_ratio_brings_no_weight_back(toy_data, toy_network, make_context):
    first = Prune(ratio=0.8).apply(toy_network(), make_context(toy_data))
    second = Prune(ratio=0.5).apply(first, make_context(toy_data))
    assert zeros(second) == zeros(first)


def test_what_a_finetuned_mask_holds_is_still_what_goes_first(toy_data, toy_network, make_context):
    context = make_context(toy_data)
    pruned = Prune(ratio=0.5, criterion="random").apply(toy_network(), context)
    tuned = Train(epochs=2, lr=1e-2).apply(pruned, context)
    assert zeros(tuned) == zeros(pruned)
    again = Prune(ratio=0.9).apply(tuned, context)
    assert share_of_zeros(again) == pytest.approx(0.9, abs=0.002)
    assert all(
        (other.weight[one.weight == 0] == 0).all()
        for (_, one), (_, other) in zip(weight_layers(pruned), weight_layers(again), strict=True)
    )


def test_quantised_weights_are_judged_as_they_are_used(toy_data, toy_network, make_context):
    network = toy_network()
    for _, layer in weight_layers(network):
        parametrize.register_parametrization(layer, "weight", UniformQuantizer(2, granularity="tensor"))
    n_rounded_away = share_of_zeros(network)
    assert n_rounded_away > 0.2
    pruned = Prune(ratio=n_rounded_away, scope="layer").apply(network, make_context(toy_data))
    assert all((layer.weight != 0).any() for _, layer in weight_layers(pruned))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_seed_decides_the_mask(toy_data, toy_network, make_context, criterion):
    stage = Prune(ratio=0.5, criterion=criterion)
    one, again, other = (stage.apply(toy_network(), make_context(toy_data, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(one[5].weight, again[5].weight)
    if criterion == "random":
        assert not torch.equal(one[5].weight, other[5].weight)


def test_of_equal_weights_exactly_the_share_goes(toy_data, make_context):
    layer = nn.Linear(64, 4)
    nn.init.ones_(layer.weight)
    pruned = Prune(ratio=0.3).apply(nn.Sequential(nn.Flatten(), layer), make_context(toy_data))
    assert zeros(pruned) == [(77, 256)]


def test_accuracy_falls_with_the_ratio(trained_on_digits):
    model, context = trained_on_digits
    accuracies = [context.evaluate(Prune(ratio=ratio).apply(model, context)) for ratio in (0.0, 0.9, 0.99)]
    assert accuracies[0] == evaluate(model, context.data, "val", task=context.task, side=28).quality
    assert accuracies[0] > accuracies[1] > accuracies[2]


@pytest.mark.parametrize(
    ("option", "value"),
    [("ratio", -0.1), ("ratio", 1.0), ("ratio", math.nan), ("criterion", "size"), ("scope", "channel")],
)
def test_what_cannot_be_pruned_to_is_named(option, value):
    with pytest.raises(ValueError, match=f"{option}={value}: must be"):
        Prune(**{"ratio": 0.5, option: value})


class TestAdaptiveScope:
    def test_a_score_is_the_share_of_what_is_left_of_the_layer(self):
        scores = torch.tensor([[3.0, 1.0], [2.0, 0.0]])
        torch.testing.assert_close(
            adapted(scores), torch.tensor([[1.0, 1 / 14], [4 / 13, 0.0]], dtype=torch.float64), rtol=1e-12, atol=0
        )

    def test_what_stays_and_what_is_gone_keep_their_place(self):
        scores = adapted(torch.tensor([math.inf, -math.inf, 2.0, 0.0]))
        assert scores.tolist() == [math.inf, -math.inf, 1.0, 0.0]

    @given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=30), st.floats(0.01, 100))
    def test_the_order_within_a_layer_stays_and_the_scale_of_its_weights_does_not_matter(self, values, scale):
        scores = torch.tensor(values)
        one, other = adapted(scores), adapted(scores.double() * scale)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-12)
        is_more = scores[:, None] > scores
        assert torch.all((one[:, None] >= one)[is_more])

    def test_a_layer_of_small_weights_is_spared(self, toy_data, toy_network, make_context):
        network = toy_network()
        network[5].weight.data *= 1e-3
        kept = {}
        for scope in ("global", "adaptive"):
            pruned = Prune(ratio=0.9, scope=scope).apply(network, make_context(toy_data))
            kept[scope] = int((pruned[5].weight != 0).sum())
            total = sum(int((layer.weight != 0).sum()) for _, layer in weight_layers(pruned))
            assert total == round(0.1 * (54 + 384))
        assert kept["global"] == 0
        assert kept["adaptive"] > 10


ROWS = {
    "linear": lambda: nn.Linear(10, 4),
    "convolution": lambda: nn.Conv2d(5, 4, 2),
    "transposed": lambda: nn.ConvTranspose2d(5, 4, 2),
    "recurrent": lambda: nn.RNN(10, 4),
}


@pytest.mark.parametrize("name", ROWS)
def test_ranks_in_a_row_are_those_of_one_output(name):
    weight = next(weights_of(ROWS[name]()))
    scores = torch.randn(weight.value().shape, generator=torch.Generator().manual_seed(0))
    ranks = ranks_in_row(weight, scores)
    assert ranks.shape == scores.shape
    by_output = (lambda t: t.transpose(0, 1).flatten(1)) if name == "transposed" else (lambda t: t.flatten(1))
    for row, of_row in zip(by_output(scores), by_output(ranks), strict=True):
        assert torch.equal(of_row.argsort(), row.argsort())
        assert sorted(of_row.tolist()) == [n / len(row) for n in range(len(row))]


def test_of_each_row_the_same_share_goes_and_rows_do_not_go_together_with_rows(toy_data, toy_network, make_context):
    pruned = Prune(ratio=0.5, criterion="activation", scope="row").apply(toy_network(), make_context(toy_data))
    for _, layer in weight_layers(pruned):
        zeros = (layer.weight == 0).flatten(1).sum(1)
        assert int(zeros.max() - zeros.min()) <= 1
    with pytest.raises(ValueError, match="scope=row: must be global, layer or adaptive with granularity=row"):
        Prune(ratio=0.5, scope="row", granularity="row")


def test_a_scope_that_is_written_out_is_the_same_stage_where_it_is_the_criterions_own():
    assert Prune(ratio=0.5, scope="global") == Prune(ratio=0.5)
    assert Prune(ratio=0.5, scope="global").identity()["fields"] == {"ratio": 0.5}
    assert Prune(ratio=0.5, criterion="activation", scope="adaptive") == Prune(ratio=0.5, criterion="activation")
    assert Prune(ratio=0.5, criterion="activation", scope="global").scope == "global"
    assert Prune(ratio=0.5, scope="adaptive").scope == "adaptive"


def test_activation_beats_magnitude_where_inputs_differ_in_size_by_their_own_scope(toy_data, make_context):
    """A channel that hardly anything goes through has weights as large as those of the others."""
    network = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 8, 3, bias=False))
    with torch.no_grad():
        network[0].weight[:4] *= 1e-3
    images = next(toy_data.batches("val", side=8, batch_size=50))[0]
    with torch.no_grad():
        expected = network(images)
        errors = {
            criterion: float(
                (Prune(ratio=0.5, criterion=criterion).apply(network, make_context(toy_data))(images) - expected).norm()
            )
            for criterion in ("magnitude", "activation")
        }
    assert errors["activation"] < 0.7 * errors["magnitude"]
