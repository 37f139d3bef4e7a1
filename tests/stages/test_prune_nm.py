import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import constraints_on
from effbench.compression.layers import weight_layers
from effbench.stages.prune import Prune
from effbench.stages.prune_nm import PruneNM, nm_mask
from effbench.stages.train import Train


@pytest.fixture(scope="module")
def trained_on_digits(digits_data, make_context):
    context = make_context(digits_data, step="train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
    return Train(epochs=3, lr=3e-3).apply(network, context), context


@given(
    shape=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    pattern=st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda p: (min(p), max(p) + 1)),
    seed=st.integers(0, 2**31),
)
def test_every_group_keeps_exactly_its_n_largest(shape, pattern, seed):
    n_kept, n_group = pattern
    scores = torch.randint(0, 5, shape, generator=torch.Generator().manual_seed(seed)).float()  # with many ties
    mask = nm_mask(scores, n_kept=n_kept, n_group=n_group, dim=1)
    assert mask.shape == scores.shape
    for marks, values in zip(mask.split(n_group, 1), scores.split(n_group, 1), strict=True):
        n_here = min(n_kept, marks.shape[1])
        assert (marks.sum(1) == n_here).all()
        least_kept = values.masked_fill(~marks, math.inf).amin(1)
        assert (values.masked_fill(marks, -math.inf).amax(1) <= least_kept).all()


@pytest.mark.parametrize(("n_kept", "n_group"), [(2, 4), (1, 4), (4, 8), (3, 7)])
def test_the_groups_lie_along_the_inputs_of_every_kind_of_layer(toy_data, make_context, n_kept, n_group):
    layers = [
        nn.Conv2d(8, 5, 3),
        nn.Conv1d(16, 6, 2, groups=2),
        nn.ConvTranspose2d(8, 6, 2, groups=2),
        nn.Linear(13, 4),
    ]
    pruned = PruneNM(pattern=f"{n_kept}:{n_group}").apply(nn.ModuleList(layers), make_context(toy_data))
    inputs_last = [
        pruned[0].weight.movedim(1, -1),
        pruned[1].weight.movedim(1, -1),
        pruned[2].weight.unflatten(0, (2, 4)).movedim(1, -1),  # each group of the convolution has four inputs
        pruned[3].weight,
    ]
    for weight in inputs_last:
        for group in weight.split(n_group, -1):
            assert ((group != 0).sum(-1) == min(n_kept, group.shape[-1])).all()


def test_a_layer_with_few_inputs_is_left_whole(toy_data, toy_network, make_context):
    network = toy_network()  # its convolution has one input channel
    pruned = PruneNM(pattern="2:4").apply(network, make_context(toy_data))
    assert torch.equal(pruned[0].weight, network[0].weight)
    assert (pruned[5].weight == 0).float().mean() == 0.5


def test_two_of_four_by_magnitude_beat_two_at_random_and_cost_more_than_half_of_all(trained_on_digits):
    model, context = trained_on_digits
    accuracy, kept = {}, {}
    stages = {
        "2:4": PruneNM(pattern="2:4"),
        "2:4 by gradient": PruneNM(pattern="2:4", criterion="gradient"),
        "2:4 at random": PruneNM(pattern="2:4", criterion="random"),
        "half": Prune(ratio=0.5),
        "half of each": Prune(ratio=0.5, scope="layer"),
    }
    for name, stage in stages.items():
        pruned = stage.apply(model, context)
        accuracy[name] = context.evaluate(pruned)
        kept[name] = float(sum(layer.weight.detach().abs().sum() for _, layer in weight_layers(pruned)))
        assert sum((layer.weight == 0).sum() for _, layer in weight_layers(pruned)) == pytest.approx(12704, abs=1)
    assert accuracy["2:4"] > accuracy["2:4 at random"] + 0.02, accuracy
    assert accuracy["2:4 by gradient"] > accuracy["2:4 at random"] + 0.02, accuracy
    assert accuracy["half"] >= accuracy["2:4"] - 0.01, accuracy
    # What the pattern costs, for certain: magnitude that a free choice of as many weights would keep.
    assert kept["half"] > kept["half of each"] > kept["2:4"] > kept["2:4 at random"]


def test_the_pattern_holds_through_finetuning_and_after_another_pruning(toy_data, toy_network, make_context):
    context = make_context(toy_data)
    tuned = Train(epochs=1, lr=1e-2).apply(PruneNM(pattern="1:4").apply(toy_network(), context), context)
    again = Prune(ratio=0.9).apply(tuned, context)
    for model in (tuned, again):
        assert ((model[5].weight != 0).unflatten(1, (-1, 4)).sum(-1) <= 1).all()
        assert [type(c) for c in constraints_on(model[5], "weight")] == [Mask]
    after = PruneNM(pattern="1:4").apply(Prune(ratio=0.9).apply(toy_network(), context), context)
    n_zeros = sum(int((layer.weight == 0).sum()) for _, layer in weight_layers(after))
    assert n_zeros >= round(0.9 * (54 + 384))  # neither gives back what the other took


@pytest.mark.parametrize("pattern", ["4:4", "4:2", "0:4", "2", "2:4:8", "a:b", "", "-1:4", "02:4", "2:99999"])
def test_what_is_no_pattern_is_named(pattern):
    with pytest.raises(ValueError, match=rf"^pattern={pattern}: must be N:M, .* such as 2:4$"):
        PruneNM(pattern=pattern)


def test_an_unknown_criterion_is_named():
    with pytest.raises(ValueError, match="criterion=size: must be magnitude, gradient, activation or random"):
        PruneNM(pattern="2:4", criterion="size")
