import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.models.swin_transformer import SwinTransformer

from effbench.compression.structure.attention_heads import find_heads
from effbench.compression.structure.head_removal import attention_layers
from effbench.models import small_vit
from effbench.tasks.classification import Classification
from effbench.training.head_importance import gate_gradients, norms_of_heads


class Gated(nn.Module):
    """Multiplies the columns of a projection by a gate for each head."""

    def __init__(self, n):
        super().__init__()
        self.gates = nn.Parameter(torch.ones(n))

    def forward(self, weight):
        return (weight.unflatten(1, (len(self.gates), -1)) * self.gates[:, None]).flatten(1)


def grey(network):
    network.register_forward_pre_hook(lambda _, inputs: (inputs[0].expand(-1, 3, -1, -1),))
    return network


def vit():
    sizes = {"image_size": 8, "patch_size": 4, "num_layers": 2, "num_heads": 4, "hidden_dim": 16, "mlp_dim": 32}
    return grey(VisionTransformer(**sizes, num_classes=4))


def swin():
    sizes = {"patch_size": [1, 1], "embed_dim": 8, "depths": [2], "num_heads": [4], "window_size": [4, 4]}
    return grey(SwinTransformer(**sizes, num_classes=4))


NETWORKS = {
    "small_vit": lambda: small_vit(patch=2, depth=2, heads=4, width=16, num_classes=4, input_side=8),
    "vit": vit,
    "swin": swin,
}
PROJECTIONS = ("projection", "proj", "out_proj")


def gradients(network, data, paths):
    return gate_gradients(
        network, paths, data, task=Classification(), side=8, device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_gradient_of_gates_example_by_example(name, toy_data):
    network = NETWORKS[name]().eval()
    layers, _ = attention_layers(network)
    found, n_seen = gradients(network, toy_data, list(layers))
    assert n_seen == 203 and list(found) == list(layers)
    assert not any(module._forward_pre_hooks for module in network.modules() if module is not network)
    gates = {}
    for path in layers:
        attention = network.get_submodule(path)
        projection = next(attention._modules[name] for name in PROJECTIONS if name in attention._modules)
        gates[path] = Gated(4)
        nn.utils.parametrize.register_parametrization(projection, "weight", gates[path])
    totals = {path: torch.zeros(4) for path in layers}
    for images, targets in toy_data.batches("train", side=8, batch_size=250):
        for image, target in zip(images, targets, strict=True):
            network.zero_grad()
            Classification().summed_loss(network(image[None]), target[None]).backward()
            for path, total in totals.items():
                total += gates[path].gates.grad.abs()
    for path, total in totals.items():
        assert torch.allclose(found[path].float(), total, rtol=1e-3, atol=1e-5)


def test_layers_that_are_not_called_have_no_entry(toy_data):
    network = NETWORKS["small_vit"]()
    network.auxiliary = nn.MultiheadAttention(16, 4)
    found, _ = gradients(network, toy_data, ["blocks.1.attention", "auxiliary"])
    assert list(found) == ["blocks.1.attention"]


def test_norms_are_those_of_all_that_a_head_has():
    attention = nn.MultiheadAttention(4, 2)
    with torch.no_grad():
        attention.in_proj_weight[:] = torch.tensor([1.0, 1, 2, 2] * 3)[:, None]
        attention.in_proj_bias[:] = torch.tensor([1.0, 1, 0, 0] * 3)
        attention.out_proj.weight[:] = torch.tensor([3.0, 3, 0, 0])
    squares = [3 * 2 * 4 * 1 + 3 * 2 * 1 + 4 * 2 * 9, 3 * 2 * 4 * 4]
    assert torch.allclose(norms_of_heads(find_heads(attention)), torch.tensor(squares).double().sqrt())
