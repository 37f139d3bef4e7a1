"""Multiply-adds and parameters of a model, against counts by hand and those that torchvision publishes."""

import copy
import tracemalloc

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.measure.compute import Cost, count_cost


class Applies(nn.Module):
    """A network of one function, with or without parameters of its own."""

    def __init__(self, function, **parameters):
        super().__init__()
        self.function = function
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x):
        return self.function(self, x)


class Sequences(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class SelfAttention(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
        self.options = options

    def forward(self, x):
        return self.attention(x, x, x, **self.options)[0]


# Attention of 50 tokens of 64 values: projections in and out, and the two products.
ATTENTION = 50 * 64 * 192 + 2 * 50 * 50 * 64 + 50 * 64 * 64


@pytest.mark.matrix(fast=11)
@pytest.mark.parametrize(
    ("model", "size", "macs"),
    [
        (nn.Conv2d(3, 64, 3, padding=1), (3, 224, 224), 86_704_128),
        (nn.Conv2d(64, 128, 3, padding=1), (64, 112, 112), 924_844_032),
        (nn.Conv2d(3, 4, 3, padding=1), (3, 64, 64), 442_368),
        (nn.Conv2d(3, 3, 3, padding=1, groups=3), (3, 64, 64), 110_592),
        (nn.Conv2d(3, 4, 1), (3, 64, 64), 49_152),
        (nn.Conv2d(4, 2, 1), (4, 64, 64), 32_768),
        (nn.Conv2d(4, 2, 1, groups=2), (4, 64, 64), 16_384),
        (nn.Conv2d(4, 8, 3, stride=2, dilation=2), (4, 11, 13), 4 * 8 * 9 * 4 * 5),
        (nn.Conv1d(4, 6, 5, padding=2), (4, 20), 4 * 6 * 5 * 20),
        (nn.Conv3d(2, 3, 3), (2, 5, 6, 7), 2 * 3 * 27 * 3 * 4 * 5),
        (nn.ConvTranspose2d(16, 8, 4, 2, 1), (16, 10, 10), 16 * 8 * 16 * 100),
        (nn.ConvTranspose2d(16, 8, 4, 2, 1, groups=2), (16, 10, 10), 16 * 4 * 16 * 100),
        (nn.Linear(30, 20), (30,), 600),
        (nn.Linear(30, 20, bias=False), (7, 30), 4200),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout()), (3, 8, 8), 0),
        (Applies(lambda _, x: x @ x.transpose(1, 2)), (6, 9), 6 * 6 * 9),
        (Applies(lambda m, x: x @ m.w, w=torch.ones(9, 4)), (6, 9), 6 * 9 * 4),
        (Applies(lambda m, x: torch.einsum("btf,fg->btg", x, m.w), w=torch.ones(9, 4)), (6, 9), 6 * 9 * 4),
        (Applies(lambda m, x: x[0] @ m.w, w=torch.ones(9)), (6, 9), 6 * 9),
        (Applies(lambda m, x: x.flatten() @ m.w, w=torch.ones(9)), (9,), 9),
        (Applies(lambda _, x: F.scaled_dot_product_attention(x, x, x)), (4, 50, 16), 2 * 4 * 50 * 50 * 16),
        (SelfAttention(), (50, 64), ATTENTION),
        (SelfAttention(need_weights=False), (50, 64), ATTENTION),
        (nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), (50, 64), ATTENTION + 2 * 50 * 64 * 128),
        (Sequences(nn.LSTM(32, 64, batch_first=True)), (20, 32), 20 * 4 * 64 * (32 + 64)),
        (
            Sequences(nn.LSTM(32, 64, 2, batch_first=True, bidirectional=True)),
            (20, 32),
            20 * 8 * 64 * (32 + 64 + 128 + 64),
        ),
        (Sequences(nn.GRU(32, 64, batch_first=True)), (20, 32), 20 * 3 * 64 * (32 + 64)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_macs_by_hand(model, size, macs):
    cost = count_cost(model, size)
    assert (cost.macs, cost.flops, cost.unknown) == (macs, 2 * macs, ())
    assert cost.params == sum(parameter.numel() for parameter in model.parameters())
    assert cost.by_layer["macs"].sum() == macs


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda _, x: torch.fft.rfft(x).real, "aten._fft_r2c"),
        (lambda _, x: torch.linalg.solve(x, x), "aten._linalg_solve_ex"),
        (lambda _, x: torch.cdist(x, x), "aten._cdist_forward"),
        (lambda m, x: F.bilinear(x, x, m.w), "aten._trilinear"),
    ],
)
def test_an_operation_that_is_not_known_is_named(function, name):
    cost = count_cost(Applies(function, w=torch.ones(3, 4, 4)), (4, 4))
    assert name in cost.unknown
    assert cost.macs == 0


def test_a_custom_operation_is_named_whatever_it_is_called():
    # "where" is free in torch's own namespace; another library's is not known.
    with torch.library._scoped_library("effbench_test", "FRAGMENT") as library:
        library.define("where(Tensor x) -> Tensor")
        library.impl("where", torch.empty_like, "Meta")
        model = nn.Sequential(nn.Linear(3, 3), Applies(lambda _, x: torch.ops.effbench_test.where(x)))
        cost = count_cost(model, (3,))
    assert (cost.unknown, cost.macs) == (("effbench_test.where",), 9)


def test_a_custom_operation_that_needs_values_is_an_error_that_names_it():
    with torch.library._scoped_library("effbench_test", "FRAGMENT") as library:
        library.define("double(Tensor x) -> Tensor")
        library.impl("double", lambda x: 2 * x, "CPU")
        with pytest.raises(ValueError, match=r"effbench_test\.double has no implementation without values"):
            count_cost(Applies(lambda _, x: torch.ops.effbench_test.double(x)), (3,))


def test_masked_weights_take_their_macs_with_them():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    mask = torch.ones(4, 2, 3, 3)
    mask.view(-1)[:7] = 0
    parametrize.register_parametrization(model[0], "weight", Mask(mask))
    cost = count_cost(model, (2, 8, 8))
    assert (cost.params, cost.params_nonzero) == (72 + 725, 65 + 725)
    assert (cost.macs, cost.macs_effective) == (36 * 72 + 720, 36 * 65 + 720)
    assert cost.by_layer.columns.tolist() == ["layer", "kind", "macs", "macs_effective", "params", "params_nonzero"]
    assert cost.by_layer.values.tolist() == [["0", "Conv2d", 2592, 2340, 72, 65], ["3", "Linear", 720, 720, 725, 725]]


def test_quantised_weights_that_round_to_zero_are_zero():
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1.0, 0.001, -0.001]]))
    parametrize.register_parametrization(layer, "weight", UniformQuantizer(4))
    cost = count_cost(layer, (4,))
    assert (cost.macs, cost.macs_effective, cost.params, cost.params_nonzero) == (4, 2, 4, 2)


def test_constraints_stack_and_batch_norm_counts():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    mask = torch.zeros(4, 1, 3, 3)
    mask[:, :, 1, 1] = 1
    parametrize.register_parametrization(model[0], "weight", Mask(mask))
    parametrize.register_parametrization(model[0], "weight", UniformQuantizer(8))
    cost = count_cost(model, (1, 5, 5))
    assert (cost.params, cost.params_nonzero, cost.macs_effective) == (36 + 4 + 8, 4 + 4 + 4, 4 * 9)


def test_a_parametrization_of_two_tensors_counts_as_the_one_it_makes():
    cost = count_cost(parametrizations.weight_norm(nn.Linear(6, 5)), (6,))
    assert (cost.params, cost.macs, cost.macs_effective) == (35, 30, 30)


def test_zeros_of_attention_and_recurrent_weights_count_too():
    attention, lstm = SelfAttention().attention, nn.LSTM(4, 3, batch_first=True, bias=False)
    with torch.no_grad():
        attention.in_proj_weight.fill_(1.0)[:64] = 0
        attention.out_proj.weight.fill_(1.0)
        lstm.weight_ih_l0.fill_(1.0)
        lstm.weight_hh_l0.zero_()
    model = SelfAttention()
    model.attention = attention
    cost = count_cost(model, (50, 64))
    assert cost.macs - cost.macs_effective == 50 * 64 * 64
    assert cost.by_layer.set_index("layer")["macs"].to_dict() == {
        "attention": ATTENTION - 50 * 64 * 64,
        "attention.out_proj": 50 * 64 * 64,
    }
    cost = count_cost(Sequences(lstm), (5, 4))
    assert (cost.macs, cost.macs_effective) == (5 * 12 * 7, 5 * 12 * 4)


def test_minus_zero_is_zero():
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, -0.0], [1.0, float("nan")]]))
    assert count_cost(layer, (2,)).params_nonzero == 2


def test_a_tied_weight_counts_once_and_its_multiplications_at_each_use():
    model = nn.Sequential(nn.Linear(5, 5, bias=False), nn.ReLU(), nn.Linear(5, 5, bias=False))
    model[2].weight = model[0].weight
    cost = count_cost(model, (5,))
    assert (cost.params, cost.params_nonzero, cost.macs) == (25, 25, 50)
    assert cost.by_layer["macs"].tolist() == [25, 25]
    assert cost.by_layer["params"].tolist() == [25, 0]


def test_costs_compare_by_their_counts():
    one, other = (count_cost(nn.Linear(3, 2), (3,)) for _ in range(2))
    assert isinstance(one, Cost)
    assert one == other


def state_of(model):
    return {
        "training": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "addresses": [tensor.data_ptr() for tensor in model.state_dict().values()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
    }


@pytest.mark.parametrize("fastpath", [True, False])
def test_the_model_is_left_alone(fastpath):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))
    parametrize.register_parametrization(model[3], "weight", Mask(torch.ones(3, 4)))
    model(torch.randn(2, 1, 3, 3)).sum().backward()
    model[1].eval()
    model[0].bias.requires_grad_(False)
    before = copy.deepcopy(state_of(model)) | {"addresses": state_of(model)["addresses"]}
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fastpath)
    try:
        count_cost(model, (1, 3, 3))
        with pytest.raises(ValueError, match="Sequential can't be counted"):
            count_cost(model, (2, 3, 3))
        assert torch.backends.mha.get_fastpath_enabled() == fastpath
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)
    after = state_of(model)
    for key in ("training", "hooks", "addresses", "requires_grad"):
        assert after[key] == before[key]
    for name, tensor in after["tensors"].items():
        assert torch.equal(tensor, before["tensors"][name])
    assert parametrize.is_parametrized(model[3], "weight")
    for one, other in zip(after["grads"], before["grads"], strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)


def test_counted_in_eval_mode_inside_any_grad_mode():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(9, 2)).train()
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            assert count_cost(model, (1, 3, 3)).macs == 18


def test_neither_activations_nor_weights_are_allocated():
    # 100 GB of activations a layer, and 400 MB of weights that may not be copied.
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1), nn.AdaptiveAvgPool2d(1))
    model.append(nn.Flatten()).append(nn.Linear(64, 100))
    side = 20_000
    tracemalloc.start()
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        cost = count_cost(model, (3, side, side))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    allocated = sum(event.self_cpu_memory_usage for event in profile.key_averages() if event.self_cpu_memory_usage > 0)
    assert cost.macs == side**2 * 9 * (3 * 64 + 64 * 64) + 6400
    assert allocated < 1e6
    assert peak < 50e6


def test_tensors_outside_of_parameters_and_buffers_follow_the_input():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.offset = torch.ones(4)
            self.table = [torch.arange(3)]

        def forward(self, x):
            return self.linear(x + self.offset)[..., self.table[0]] + torch.arange(3)

    assert count_cost(Positions(), (5, 4)).macs == 5 * 16


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_input_has_the_networks_type(dtype):
    cost = count_cost(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(18, 4)).to(dtype), (1, 5, 5))
    assert (cost.macs, cost.params_nonzero) == (9 * 18 + 72, 20 + 76)


def test_sizes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="input_size must be the size of one input"):
        count_cost(nn.Linear(3, 3), (3, 0))


def test_a_forward_pass_that_needs_values_is_an_error_in_one_line():
    with pytest.raises(ValueError, match="Applies can't be counted on one input of size") as caught:
        count_cost(Applies(lambda _, x: x * float(x.sum().item())), (3,))
    assert "\n" not in str(caught.value)


def test_a_network_without_parameters():
    cost = count_cost(nn.ReLU(), (3,))
    assert (cost.macs, cost.params, len(cost.by_layer)) == (0, 0, 0)
    assert cost.by_layer["macs"].dtype == "int64"
