"""Batch norms folded into networks as people make them."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

from effbench.codec import decode, encode
from effbench.compression.constraints.stack import bake
from effbench.stages.fold_batch_norm import FoldBatchNorm
from effbench.stages.quantize import Quantize

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")


def plain():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def normed_anew(model):
    parametrizations.weight_norm(model[0])
    return model


def normed(model):
    torch.nn.utils.weight_norm(model[0])
    return model


def pruned_by_torch(model):
    torch_prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def with_pruned_bias(model):
    torch_prune.l1_unstructured(model[0], "bias", 0.5)
    return model


def compiled(model):
    return torch.compile(model, backend="eager")


NETWORKS = {plain_one: n for plain_one, n in (
    (lambda model: model, 2), (normed_anew, 1), (normed, 1), (pruned_by_torch, 2), (with_pruned_bias, 1), (compiled, 2)
)}  # fmt: skip


def seeded(change, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = plain()
        for norm in (model[1], model[4]):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                tensor.uniform_(0.5, 1.5)
        return change(model).eval()


@pytest.mark.parametrize("change", NETWORKS)
def test_what_can_be_folded_is_and_the_rest_stays(change, toy_data, make_context):
    images = next(toy_data.batches("val", side=8, batch_size=5))[0]
    model, context = seeded(change, 0), make_context(toy_data)
    folded = FoldBatchNorm(enabled=True).apply(model, context).eval()
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == 2 - NETWORKS[change]
    with torch.no_grad():
        expected = bake(model)(images)
        assert torch.allclose(folded(images), expected, atol=1e-5)
        quantized = Quantize(bits=4).apply(folded, context).eval()
        restored = decode(encode(quantized), seeded(change, 1)).eval()
        assert torch.equal(restored(images), bake(quantized)(images))


def test_neutral_it_changes_nothing(toy_data, make_context):
    model = seeded(lambda model: model, 0)
    assert FoldBatchNorm().is_neutral
    same = FoldBatchNorm().apply(model, make_context(toy_data))
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in model.state_dict().items())
