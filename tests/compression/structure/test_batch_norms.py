"""Folding a batch norm: the same function, fewer layers, and only where nothing else takes the layer's output."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from effbench import models
from effbench.codec import decode, encode
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import bake, hold, quantizer_of
from effbench.compression.layers import weight_layers
from effbench.compression.structure.batch_norms import fold_batch_norms
from effbench.compression.structure.edits import Edit, EditKind, edits_of
from effbench.measure.compute import count_cost
from effbench.models.torchvision_networks import torchvision_model
from effbench.run.store import Store
from effbench.stages.fold_batch_norm import FoldBatchNorm
from effbench.stages.low_rank import LowRank
from effbench.stages.prune import Prune
from effbench.stages.prune_channels import PruneChannels
from effbench.stages.quantize import Quantize
from effbench.stages.quantize_inputs import QuantizeInputs
from effbench.stages.share import Share
from effbench.stages.train import Train

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def norms_of(network):
    return [module for module in network.modules() if isinstance(module, NORMS)]


def lived_in(network, seed=0):
    """Give batch norms the statistics and parameters of some training, and the network eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for norm in norms_of(network):
        norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator))
        norm.running_var.copy_(torch.rand(norm.num_features, generator=generator) * 3 + 0.05)
        if norm.affine:
            with torch.no_grad():
                norm.weight.copy_(torch.randn(norm.num_features, generator=generator))
                norm.bias.copy_(torch.randn(norm.num_features, generator=generator))
    return network.eval()


def built(build, seed=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return lived_in(build(**options), seed)


def differ_by(one, other, images):
    with torch.no_grad():
        expected = one(images)
        return float((other(images) - expected).abs().max() / expected.abs().max())


class Net(nn.Module):
    """Convolution and batch norm, and a forward pass that a test gives."""

    def __init__(self, forward):
        super().__init__()
        self.conv, self.norm, self.other = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        self.how = forward

    def forward(self, images):
        return self.how(self, images)


@settings(max_examples=30)
@given(
    st.sampled_from([(nn.Conv1d, nn.BatchNorm1d, 1), (nn.Conv2d, nn.BatchNorm2d, 2), (nn.Conv3d, nn.BatchNorm3d, 3)]),
    st.integers(1, 3),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_the_folded_convolution_is_the_same_function(kinds, per_group, groups, bias, affine, seed):
    conv, norm, n_dims = kinds
    n_out = per_group * groups
    network = built(
        lambda: nn.Sequential(
            conv(2 * groups, n_out, 3, stride=2, padding=1, groups=groups, bias=bias), norm(n_out, affine=affine)
        ),
        seed,
    )
    images = torch.randn(2, 2 * groups, *(5,) * n_dims, generator=torch.Generator().manual_seed(seed))
    folded = copy.deepcopy(network)
    assert fold_batch_norms(folded, images) == ("1",)
    assert isinstance(folded[1], nn.Identity)
    assert differ_by(network.double(), folded.double(), images.double()) < 1e-5  # the fold itself was made in float32
    restored = decode(encode(folded.float()), built(lambda: copy.deepcopy(network).float(), 1))
    with torch.no_grad():
        assert torch.equal(restored(images), folded(images))


def test_a_linear_layer_is_folded_where_its_outputs_are_the_channels():
    network = built(lambda: nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3), nn.Flatten()))
    folded, images = copy.deepcopy(network), torch.randn(5, 4)
    assert fold_batch_norms(folded, images) == ("1",)
    assert differ_by(network, folded, images) < 1e-5
    assert fold_batch_norms(network, torch.randn(2, 3, 4)) == ()  # (n, length, features): channels are the length


NETWORKS = {
    "small_cnn": (models.small_cnn, {"num_classes": 10, "in_channels": 1}, (1, 28, 28)),
    "mobilenet_v1": (models.mobilenet_v1, {"alpha": 0.25, "num_classes": 10}, (3, 64, 64)),
    "resnet18": (torchvision_model, {"name": "resnet18", "num_classes": 10}, (3, 64, 64)),
    "mobilenet_v2": (torchvision_model, {"name": "mobilenet_v2", "num_classes": 10}, (3, 64, 64)),
}


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks_lose_every_batch_norm_and_stay_what_they_compute(name):
    build, options, size = NETWORKS[name]
    network = built(build, **options)
    images = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    folded = copy.deepcopy(network)
    assert len(fold_batch_norms(folded, images)) == len(norms_of(network)) > 3
    assert norms_of(folded) == []
    assert differ_by(network, folded, images) < 1e-3
    before, after = count_cost(network, size), count_cost(folded, size)
    assert after.macs == before.macs
    n_channels = sum(norm.num_features for norm in norms_of(network))
    assert after.params == before.params - n_channels  # scale and shift become a bias
    # The mean, the variance and the count of batches go as well.
    saved = 4 * 3 * n_channels + 8 * len(norms_of(network))
    assert len(encode(network, coder="none")) - len(encode(folded, coder="none")) == pytest.approx(saved, rel=0.1)
    restored = decode(encode(folded), built(build, 1, **options))
    with torch.no_grad():
        assert torch.equal(restored(images), folded(images))
    assert edits_of(restored) == edits_of(folded)


ELSEWHERE = {
    "a sum": lambda self, x: (y := self.conv(x), self.norm(y) + y)[1],
    "the output": lambda self, x: (y := self.conv(x), (self.norm(y), y))[1],
    "a view": lambda self, x: (y := self.conv(x), self.norm(y) + y.flatten(1).mean())[1],
    "another norm": lambda self, x: (y := self.conv(x), self.norm(y) + self.other(y))[1],
    "the layer again": lambda self, x: self.norm(self.conv(self.conv(x))),
    "the norm again": lambda self, x: self.norm(self.norm(self.conv(x))),
    "in place": lambda self, x: self.norm(self.conv(x).add_(1)),
    "no norm": lambda self, x: self.conv(x),
    "what was detached": lambda self, x: (y := self.conv(x), self.norm(y) * (y.detach() > 0))[1],
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_layer_whose_output_goes_elsewhere_keeps_its_batch_norm(name):
    network = lived_in(Net(ELSEWHERE[name]))
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    assert fold_batch_norms(network, torch.randn(2, 2, 4, 4)) == ()
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())
    assert edits_of(network) == {}


def test_the_watched_forward_pass_would_be_folded_without_the_second_use():
    network = lived_in(Net(lambda self, x: self.norm(self.conv(x)).relu_()))
    images = torch.randn(2, 2, 4, 4)
    expected = network(images)
    assert fold_batch_norms(network, images) == ("norm",)
    assert torch.allclose(network(images), expected, atol=1e-5)


def test_a_shared_tensor_a_hook_and_missing_statistics_keep_a_batch_norm():
    def chain(norm=None):
        return nn.Sequential(nn.Conv2d(2, 2, 1), norm or nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.ReLU()).eval()

    images = torch.randn(2, 2, 4, 4)
    tied = chain()
    tied[2].weight = tied[0].weight
    hooked = chain()
    hooked[0].register_forward_hook(lambda module, inputs, output: output * 2)
    for network in (tied, hooked, chain(nn.BatchNorm2d(2, track_running_stats=False)), chain(nn.InstanceNorm2d(2))):
        assert fold_batch_norms(network, images) == ()
    assert fold_batch_norms(chain(), images) == ("1",)


def test_modes_are_left_and_no_hook_stays():
    network = built(models.small_cnn, num_classes=4, in_channels=1, input_side=8).train()
    network.features.eval()
    modes = [(module, module.training) for module in network.modules()]
    fold_batch_norms(network, torch.randn(2, 1, 8, 8))
    assert all(module.training == was_training for module, was_training in modes)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_mask_is_kept_and_another_constraint_keeps_the_batch_norm(toy_data, toy_network, make_context):
    context, images = make_context(toy_data), next(toy_data.batches("val", side=8, batch_size=4))[0]
    network = lived_in(toy_network())
    pruned = Prune(ratio=0.6).apply(network, context)
    folded = copy.deepcopy(pruned)
    assert fold_batch_norms(folded, images) == ("1",)
    assert torch.equal(folded[0].weight == 0, pruned[0].weight == 0)
    assert differ_by(pruned, folded, images) < 1e-5
    for stage in (Quantize(bits=4), Share(values=4)):
        on_grid = stage.apply(network, context)
        assert fold_batch_norms(on_grid, images) == ()
    hold(network[0], Mask(torch.ones(6, 1, 3, 3)))
    parametrize.register_parametrization(network[0], "weight", nn.Identity())
    assert fold_batch_norms(network, images) == ()


def fold(network, context):
    return FoldBatchNorm(enabled=True).apply(network, context)


def test_folded_and_quantised_is_the_folded_function_on_a_grid(toy_data, toy_network, make_context):
    context, images = make_context(toy_data), next(toy_data.batches("val", side=8, batch_size=4))[0]
    network = lived_in(toy_network())
    folded = copy.deepcopy(network)
    fold_batch_norms(folded, images)
    quantized = Quantize(bits=5).apply(fold(network, context), context)
    rounded = Quantize(bits=5).apply(folded, context)
    assert torch.equal(quantized(images), rounded(images))
    assert all(quantizer_of(layer, "weight").bits == 5 for _, layer in weight_layers(quantized))
    fine = Quantize(bits=16).apply(fold(network, context), context)
    assert differ_by(network, fine, images) < 1e-3
    inputs = QuantizeInputs(bits=16).apply(fold(network, context), context)
    assert norms_of(inputs) == []
    assert differ_by(network, inputs, images) < 1e-3


@pytest.mark.extended
def test_folding_uneven_scales_into_a_tensor_costs_it_what_grids_per_channel_keep(digits_data, make_context):
    """Why per-tensor grids fail on folded networks (arXiv:1806.08342, section 3.1)."""
    context = make_context(digits_data, step="train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.small_cnn(num_classes=10, in_channels=1, channels=(8, 16))
    trained = Train(epochs=2, lr=3e-3).apply(network, context)
    with torch.no_grad():  # the same function: the next layer, which is not rounded here, takes the scales back
        scale = 4.0 ** torch.linspace(-2, 2, 8)
        trained.features.norm1.weight *= scale
        trained.features.norm1.bias *= scale
        trained.features.conv2.weight /= scale[:, None, None]

    def accuracy(granularity, folded):
        whole = fold(trained, context) if folded else copy.deepcopy(trained)
        rounded = bake(Quantize(bits=4, granularity=granularity).apply(whole, context)).features.conv1
        whole.features.conv1 = rounded
        return context.evaluate(whole)

    reference = context.evaluate(trained)
    assert accuracy("tensor", False) > reference - 0.05
    assert accuracy("channel", True) > reference - 0.05
    assert accuracy("tensor", True) < reference - 0.15


def test_a_folded_network_is_kept_trained_and_edited_further(tmp_path, toy_data, make_context):
    context = make_context(toy_data)
    network = built(models.small_cnn, num_classes=4, in_channels=1, input_side=8, channels=(8, 12))
    narrow = PruneChannels(ratio=0.25).apply(network, context)
    folded = Quantize(bits=4).apply(fold(narrow, context), context)
    assert edits_of(folded)["features.conv2"] == Edit(EditKind.BIASED, (6, 9, 1))
    assert edits_of(folded)["features.norm2"] == Edit(EditKind.REMOVED)
    tuned = Train(epochs=1, lr=1e-3).apply(folded, context)
    again = Quantize(bits=4).apply(fold(tuned, context), context)
    images = next(toy_data.batches("val", side=8, batch_size=4))[0]
    store = Store(tmp_path)
    store.put_model("folded", again)
    kept = store.get_model("folded", built(models.small_cnn, 1, num_classes=4, input_side=8, channels=(8, 12)))
    assert torch.equal(kept(images), tuned(images))
    for stage in (PruneChannels(ratio=0.5), LowRank(rank=0.5), Prune(ratio=0.5)):
        later = stage.apply(again, context).eval()
        fresh = built(models.small_cnn, 2, num_classes=4, input_side=8, channels=(8, 12))
        restored = decode(encode(later), fresh)
        assert torch.equal(restored(images), bake(later)(images))


def test_a_low_rank_chain_is_folded_where_it_has_a_bias(toy_data, make_context):
    images = next(toy_data.batches("val", side=8, batch_size=4))[0]
    for bias in (True, False):
        layers = (nn.Conv2d(1, 16, 5, bias=bias), nn.BatchNorm2d(16), nn.Flatten())
        network = built(lambda layers=layers: nn.Sequential(*layers))
        chained = LowRank(rank=0.25).apply(network, make_context(toy_data))
        folded = copy.deepcopy(chained)
        assert fold_batch_norms(folded, images) == (("1",) if bias else ())
        assert differ_by(chained, folded, images) < 1e-4
        restored = decode(encode(folded), network)
        assert torch.equal(restored(images), folded(images))
