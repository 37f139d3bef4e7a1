import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from effbench.codec import decode, encode
from effbench.compression.constraints.codebook import Codebook, SharedTensor
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import bake, constraints_on, native_form
from effbench.compression.layers import weight_layers
from effbench.config.command_line import read_command_line
from effbench.config.points import plan_of
from effbench.run.store import Store
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.share import Share
from effbench.stages.train import Train
from effbench.training.evaluation import evaluate

SEEDS = (0, 1, 2)


def distinct(layer):
    """How many values a layer's weights have beside zero."""
    weight = layer.weight.detach()
    return len(weight[weight != 0].unique())


def squared_error(model, other):
    return sum(
        (one.weight - two.weight).square().sum().item()
        for (_, one), (_, two) in zip(weight_layers(model), weight_layers(other), strict=True)
    )


def same_bits(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def trained_on_digits(digits_data, make_context):
    """Three trained perceptrons of four layers (90 % correct), with their contexts."""
    trained = []
    for seed in SEEDS:
        context = make_context(digits_data, seed=seed, step="train")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            hidden = [layer for _ in range(2) for layer in (nn.Linear(24, 24), nn.ReLU())]
            network = nn.Sequential(nn.Flatten(), nn.Linear(784, 24), nn.ReLU(), *hidden, nn.Linear(24, 10))
        trained.append((Train(epochs=5, lr=5e-3).apply(network, context), context))
    return trained


@pytest.mark.parametrize("initial", ["linear", "density", "random"])
@pytest.mark.parametrize("k", [2, 3, 5, 32])
def test_each_layer_has_so_many_values_and_nothing_else_is_touched(toy_data, toy_network, make_context, k, initial):
    network = toy_network()
    shared = Share(values=k, initial=initial).apply(network, make_context(toy_data))
    assert [distinct(layer) for _, layer in weight_layers(shared)] == [k, k]
    plain = bake(shared).state_dict()
    assert all(torch.equal(plain[name], t) for name, t in network.state_dict().items() if name[1:] != ".weight")
    assert torch.equal(plain["1.weight"], network[1].weight)


def test_convolutions_and_linear_layers_may_have_their_own_number(toy_data, toy_network, make_context):
    both = Share(values=3, values_conv=16, values_linear=5)
    for stage, expected in (
        (both, [16, 5]),
        (Share(values=3, values_conv=16), [16, 3]),
        (Share(values=3, values_linear=5), [3, 5]),
    ):
        shared = stage.apply(toy_network(), make_context(toy_data))
        assert [distinct(layer) for _, layer in weight_layers(shared)] == expected


def test_a_layer_of_few_distinct_weights_keeps_them_exactly(toy_data, toy_network, make_context):
    network = toy_network()
    shared = Share(values=54).apply(network, make_context(toy_data))  # the convolution has 54 weights
    assert torch.equal(shared[0].weight, network[0].weight)
    assert not torch.equal(shared[5].weight, network[5].weight)
    again = Share(values=100).apply(shared, make_context(toy_data))
    assert torch.equal(again[5].weight, shared[5].weight)


@pytest.mark.parametrize("k", [2, 4, 16])
def test_values_are_nearer_to_the_weights_than_those_of_a_uniform_grid(trained_on_digits, k):
    for model, context in trained_on_digits:
        shared = Share(values=k).apply(model, context)
        for (_, before), (_, after) in zip(weight_layers(model), weight_layers(shared), strict=True):
            weight = before.weight.detach()
            grid = torch.linspace(weight.min(), weight.max(), k)
            on_grid = grid[(weight[..., None] - grid).abs().argmin(-1)]
            assert (after.weight - weight).square().sum() < 0.99 * (on_grid - weight).square().sum()


def test_more_values_come_nearer_to_the_weights(trained_on_digits):
    for model, context in trained_on_digits:
        errors = [squared_error(Share(values=k).apply(model, context), model) for k in (2, 3, 4, 6, 8, 16, 32, 64, 256)]
        assert errors == sorted(errors, reverse=True)


@pytest.mark.extended
@pytest.mark.parametrize("k", [3, 4])
def test_finetuned_values_beat_k_means_alone(trained_on_digits, k):
    # Both are finetuned as long: before the weights are shared, or afterwards, when the values are what is trained.
    gains = []
    for model, context in trained_on_digits:
        share, finetune = Share(values=k), Train(epochs=2, lr=1e-3)
        afterwards = context.evaluate(share.apply(finetune.apply(model, context), context))
        tuned = finetune.apply(share.apply(model, context), context)
        assert max(distinct(layer) for _, layer in weight_layers(tuned)) <= k
        gains.append(context.evaluate(tuned) - afterwards)
    # Seen: with 3 values 0.73, 0.72, 0.82 against 0.65, 0.57, 0.54; with 4 0.89, 0.81, 0.88 against 0.86, 0.70, 0.83.
    assert min(gains) > 0.01
    assert sum(gains) / len(gains) > 0.05


def test_thirty_two_values_cost_nothing_and_two_cost_much(trained_on_digits):
    for model, context in trained_on_digits:
        accuracy = {k: context.evaluate(Share(values=k).apply(model, context)) for k in (32, 2)}
        reference = context.evaluate(model)
        assert accuracy[32] > reference - 0.015
        assert accuracy[2] < reference - 0.3


@pytest.mark.parametrize("initial", ["linear", "random"])
def test_what_was_pruned_stays_zero_through_sharing_and_finetuning(toy_data, toy_network, make_context, initial):
    context = make_context(toy_data)
    pruned = Prune(ratio=0.7).apply(toy_network(), context)
    shared = Share(values=3, initial=initial).apply(pruned, context)
    tuned = Train(epochs=3, lr=1e-2, weight_decay=0.1).apply(shared, context)
    for (_, before), (_, after), (_, later) in zip(*map(weight_layers, (pruned, shared, tuned)), strict=True):
        assert torch.equal(before.weight == 0, after.weight == 0)
        assert torch.equal(before.weight == 0, later.weight == 0)
        assert distinct(after) == 3
        assert distinct(later) <= 3
        assert [type(constraint) for constraint in constraints_on(later, "weight")] == [Codebook]
        assert later.parametrizations["weight"].original.shape == (3,)
        assert not torch.equal(after.weight, later.weight)


def test_pruning_and_sharing_again_settles_what_was_there(toy_data, toy_network, make_context):
    context = make_context(toy_data)
    once = Share(values=8).apply(Prune(ratio=0.5).apply(toy_network(), context), context)
    pruned = Prune(ratio=0.8).apply(once, context)
    assert [type(constraint) for constraint in constraints_on(pruned[5], "weight")] == [Codebook, Mask]
    assert isinstance(native_form(pruned[5], "weight"), SharedTensor)
    again = Share(values=2).apply(pruned, context)
    assert [type(constraint) for constraint in constraints_on(again[5], "weight")] == [Codebook]
    for (_, before), (_, after) in zip(weight_layers(pruned), weight_layers(again), strict=True):
        assert torch.equal(before.weight == 0, after.weight == 0)
        assert distinct(after) == 2


def test_what_a_grid_gave_is_clustered(toy_data, toy_network, make_context):
    context = make_context(toy_data)
    quantized = Quantize(bits=3, granularity="tensor").apply(toy_network(), context)
    shared = Share(values=7).apply(quantized, context)
    assert torch.equal(shared[5].weight, quantized[5].weight)  # seven levels, one of which is zero


def test_a_layer_of_zeros_keeps_its_mask(toy_data, toy_network, make_context):
    context = make_context(toy_data)
    pruned = Prune(ratio=0.5).apply(toy_network(), context)
    constraints_on(pruned[5], "weight")[0].mask.zero_()
    shared = Train(epochs=1, lr=1e-2).apply(Share(values=4).apply(pruned, context), context)
    assert (shared[5].weight == 0).all()
    assert distinct(shared[0]) <= 4


@pytest.mark.parametrize("initial", ["linear", "density", "random"])
def test_a_seed_decides_every_bit(trained_on_digits, make_context, digits_data, initial):
    model, context = trained_on_digits[0]
    stage, other = Share(values=6, initial=initial), make_context(digits_data, seed=1, step="train")
    one, again, another = (stage.apply(model, c) for c in (context, context, other))
    assert same_bits(one, again)
    assert same_bits(one, another) == (initial != "random")


def test_going_on_from_the_store_gives_the_bits_of_going_on_at_once(toy_data, toy_network, make_context, tmp_path):
    model = Share(values=5).apply(toy_network(), make_context(toy_data))
    store = Store(tmp_path)
    store.put_model("key", model)
    kept = store.get_model("key", toy_network(seed=1))
    assert same_bits(model, kept)
    finetune, context = Train(epochs=1, lr=1e-2), make_context(toy_data, step="finetune")
    assert same_bits(finetune.apply(model, context), finetune.apply(kept, context))


def test_the_file_is_smaller_by_the_rate(trained_on_digits):
    model, context = trained_on_digits[0]
    n_weights = [layer.weight.numel() for _, layer in weight_layers(model)]
    n_other = 4 * sum(p.numel() for p in model.parameters() if p.ndim < 2)
    for k in (2, 4, 16, 100):
        n_bytes = sum(n * math.ceil(math.log2(k)) / 8 + 4 * k for n in n_weights) + n_other
        size = len(encode(Share(values=k).apply(model, context), coder="none"))
        assert size == pytest.approx(n_bytes, rel=0.03, abs=120)
        assert len(encode(Share(values=k).apply(model, context))) < size


def test_the_recipe_finetunes_the_values_and_the_reference_as_long():
    command = ["recipe=deep_compression", "+prune=0.9", "+share=32"]
    reference, point = plan_of(read_command_line(command)).points
    assert [str(step) for step in point.chain.steps] == ["train", "prune", "finetune", "share", "finetune/1"]
    assert [str(step) for step in reference.chain.steps] == ["train", "best of 0 to 2 × (finetune)"]
    assert reference.is_reference
    assert point.chain.steps[3].stage == Share(values=32)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("values", 0),
        ("values", 1),
        ("values", 2**16 + 1),
        ("values_conv", 1),
        ("values_linear", -4),
        ("initial", "kmeans++"),
    ],
)
def test_what_is_no_number_of_values_and_no_start_is_named(option, value):
    with pytest.raises(ValueError) as refusal:
        Share(**{"values": 4, option: value})
    assert str(refusal.value).startswith(f"{option}={value}: must be ")


def test_a_weight_that_is_not_finite_is_named(toy_data, toy_network, make_context):
    network = toy_network()
    with torch.no_grad():
        network[5].weight[0, 0] = math.nan
    with pytest.raises(ValueError, match="5: a weight that is not finite can't be shared"):
        Share(values=4).apply(network, make_context(toy_data))


def loss_of(model, context):
    return evaluate(model, context.data, "train", task=context.task, side=28).loss


@pytest.mark.extended
def test_values_chosen_anew_fit_better_than_those_chosen_once(trained_on_digits):
    """Over three seeds, trained equally long: what is fitted is the training split."""
    fixed, moving = [], []
    for network, context in trained_on_digits:
        context = dataclasses.replace(context, step="finetune")
        sparse = Prune(ratio=0.8).apply(network, context)
        for reassign, losses in ((0, fixed), (1, moving)):
            shared = Share(values=3, reassign=reassign).apply(sparse, context)
            trained = Train(epochs=2, lr=2e-3).apply(shared, context)
            assert [distinct(layer) <= 3 for _, layer in weight_layers(trained)] == [True] * 4
            losses.append(loss_of(trained, context))
    assert sum(moving) < 0.9 * sum(fixed)


def test_zeros_stay_zeros_while_values_move_and_the_choice_is_settled_after(trained_on_digits, tmp_path):
    network, context = trained_on_digits[0]
    sparse = Prune(ratio=0.9).apply(network, context)
    shared = Share(values=4, reassign=5, precision="bfloat16").apply(sparse, context)
    once = Train(epochs=1, lr=3e-3).apply(shared, context)
    twice = Train(epochs=1, lr=3e-3).apply(once, context)
    codes = [[constraints_on(layer, "weight")[0].codes for _, layer in weight_layers(m)] for m in (shared, once, twice)]
    assert all(torch.equal(a == 0, b == 0) for a, b in zip(codes[0], codes[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(codes[0], codes[1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(codes[1], codes[2], strict=True))
    assert not same_bits(bake(once), bake(twice)), "the values go on being trained"
    for _, layer in weight_layers(twice):
        assert torch.equal(layer.weight, layer.weight.bfloat16().float())
    store = Store(tmp_path)
    store.put_model("key", once)
    assert same_bits(store.get_model("key", copy.deepcopy(network)), once)
    again = Train(epochs=1, lr=3e-3).apply(store.get_model("key", copy.deepcopy(network)), context)
    assert same_bits(again, twice)
    assert same_bits(decode(encode(twice), network), bake(twice))


def test_a_place_has_the_nearest_value(trained_on_digits):
    network, context = trained_on_digits[0]
    trained = Train(epochs=1, lr=3e-3).apply(Share(values=5, reassign=3).apply(network, context), context)
    for _, layer in weight_layers(trained):
        codebook, own = constraints_on(layer, "weight")[0], layer.parametrizations.weight.original
        distances = (own.flatten()[:, None] - codebook.values).abs()
        chosen = distances.gather(1, codebook.codes.flatten()[:, None].long() - 1)
        assert torch.all(chosen[:, 0] <= distances.min(1).values + 1e-6)


def test_biases_share_values_of_which_the_smallest_are_zero(trained_on_digits):
    network, context = trained_on_digits[0]
    shared = Share(values=8, values_bias=3).apply(network, context)
    n_zeros = 0
    for (_, layer), (_, before) in zip(weight_layers(shared), weight_layers(network), strict=True):
        values = layer.bias[layer.bias != 0].unique()
        assert 1 <= len(values) <= 3
        zeroed = before.bias[layer.bias == 0]
        assert torch.all(zeroed.abs() <= (zeroed[:, None] - values).abs().min(1).values)
        n_zeros += len(zeroed)
    assert n_zeros > 0
    trained = Train(epochs=1, lr=3e-3).apply(shared, context)
    assert all(
        torch.equal(a.bias == 0, b.bias == 0)
        for (_, a), (_, b) in zip(weight_layers(shared), weight_layers(trained), strict=True)
    )
    assert len(encode(trained)) < len(
        encode(Train(epochs=1, lr=3e-3).apply(Share(values=8).apply(network, context), context))
    )


def test_values_of_half_the_bits_take_fewer_bytes(trained_on_digits):
    network, context = trained_on_digits[0]
    half, full = (
        len(encode(Share(values=64, precision=precision).apply(network, context)))
        for precision in ("bfloat16", "float32")
    )
    assert full - 4 * 64 * 2 <= half < full - 64


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("values_bias", 1, "values_bias=1: must be 0 or a whole number, 2 to 65536"),
        ("reassign", -1, "reassign=-1: must be a whole number, 0 or more; a number of steps; 0 for never"),
        ("precision", "float16", "precision=float16: must be float32 or bfloat16"),
    ],
)
def test_new_options_refuse_what_is_none(field, value, message):
    with pytest.raises(ValueError, match=message):
        Share(values=8, **{field: value})


def test_a_convolution_of_one_channel_is_shared_in_either_layout(toy_data, toy_network, make_context):
    """Its tensors are the same bytes in both layouts: what is written must not be what is read."""
    context = make_context(toy_data)
    shared = Share(values=4, reassign=1).apply(toy_network(), context)
    trained = [
        Train(epochs=1, lr=1e-2, layout=layout).apply(shared, context) for layout in ("channels_last", "contiguous")
    ]
    assert all(distinct(layer) <= 4 for network in trained for _, layer in weight_layers(network))
