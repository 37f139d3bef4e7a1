import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.codebook import Codebook, SharedTensor, share_tensor
from effbench.compression.constraints.described import describe, impose
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import bake, constraints_on, native_form
from effbench.measure.compute import count_cost


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def some_codes(shape, n_values, seed=0):
    return torch.randint(0, n_values + 1, shape, generator=torch.Generator().manual_seed(seed))


def shared_linear(n_values=5, *, n_in=30, n_out=20, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.Linear(n_in, n_out)
    share_tensor(layer, "weight", Codebook(some_codes((n_out, n_in), n_values, seed), n_values))
    return layer


def values_of(layer):
    return layer.parametrizations["weight"].original


def codes_of(layer):
    return constraints_on(layer, "weight")[0].codes


@given(st.integers(1, 12), st.sampled_from([(7,), (4, 6), (3, 2, 3, 3)]), st.integers(0, 2**31))
def test_the_gradient_of_a_value_is_the_sum_over_its_members(n_values, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    codes = some_codes(shape, n_values, seed)
    values = torch.randn(n_values, generator=generator, requires_grad=True)
    upstream = torch.randn(shape, generator=generator)
    (Codebook(codes, n_values)(values) * upstream).sum().backward()
    members = [upstream[codes == code].sum() for code in range(1, n_values + 1)]
    assert torch.allclose(values.grad, torch.stack(members), atol=1e-5)


def test_in_a_network_it_is_the_sum_of_the_gradients_of_untied_weights_and_the_slope_of_the_loss():
    layer = shared_linear().double()
    inputs, labels = torch.randn(50, 30, dtype=torch.double), torch.randint(0, 20, (50,))

    def loss_of(network):
        return nn.functional.cross_entropy(network(inputs), labels)

    untied = bake(layer)
    loss_of(untied).backward()
    loss_of(layer).backward()
    codes = codes_of(layer)
    for number, gradient in enumerate(values_of(layer).grad):
        assert gradient == pytest.approx(untied.weight.grad[codes == number + 1].sum().item(), rel=1e-6)
        with torch.no_grad():
            step = 1e-5
            values_of(layer)[number] += step
            after = loss_of(layer).item()
            values_of(layer)[number] -= 2 * step
            before = loss_of(layer).item()
            values_of(layer)[number] += step
        assert gradient.item() == pytest.approx((after - before) / (2 * step), rel=1e-4, abs=1e-9)


def test_training_moves_the_values_and_neither_the_zeros_nor_who_has_which():
    layer = shared_linear(3)
    codes, before = codes_of(layer).clone(), layer.weight.detach().clone()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        layer(torch.randn(8, 30)).square().sum().backward()
        optimizer.step()
    weight = layer.weight.detach()
    assert torch.equal(codes_of(layer), codes)
    assert torch.equal(weight == 0, codes == 0)
    assert not torch.signbit(weight[codes == 0]).any()
    assert (weight != before)[codes != 0].all()
    assert all(len(weight[codes == code].unique()) == 1 for code in (1, 2, 3))


def test_only_the_values_are_trained_and_only_codes_are_kept_beside_them():
    layer = shared_linear(5)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "bias": (20,),
        "parametrizations.weight.original": (5,),
    }
    assert codes_of(layer).dtype == torch.uint8
    n_bytes = sum(tensor.nbytes for tensor in layer.state_dict().values())
    assert n_bytes == 20 * 30 + 4 * 5 + 4 * 20


@pytest.mark.parametrize(
    ("n_values", "dtype"), [(1, torch.uint8), (255, torch.uint8), (256, torch.int16), (2**15, torch.int32)]
)
def test_codes_are_of_the_smallest_type(n_values, dtype):
    codes = torch.tensor([0, n_values])
    codebook = Codebook(codes, n_values)
    assert codebook.codes.dtype == dtype
    assert torch.equal(codebook.codes.long(), codes)
    values = torch.arange(1.0, n_values + 1)
    assert codebook(values).tolist() == [0, n_values]


@given(st.integers(1, 6), st.integers(0, 2**31))
def test_the_values_are_the_nearest_to_the_weights_they_replace(n_values, seed):
    weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    codebook = Codebook(some_codes((6, 8), n_values, seed), n_values)
    best = codebook.right_inverse(weight)
    error = (codebook(best) - weight).square().sum()
    for number in range(n_values):
        for step in (-1e-3, 1e-3):
            other = best.clone()
            other[number] += step
            assert (codebook(other) - weight).square().sum() >= error
    assert torch.allclose(codebook.right_inverse(codebook(best)), best)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_equal_weights_are_kept_exactly(dtype):
    values = torch.tensor([0.1, -0.3, 1 / 3], dtype=dtype)
    codebook = Codebook(some_codes((50, 70), 3), 3)
    assert torch.equal(codebook.right_inverse(codebook(values)), values)


def test_a_weight_can_be_assigned():
    layer = shared_linear(4)
    weight = torch.randn(20, 30)
    layer.weight = weight
    assert values_of(layer)[2].item() == pytest.approx(weight[codes_of(layer) == 3].mean().item(), abs=1e-6)


def test_a_weight_that_stands_twice_is_shared_in_one_place_only():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    share_tensor(first, "weight", Codebook(some_codes((4, 4), 2), 2))
    assert values_of(first).shape == (2,)
    assert second.weight.shape == (4, 4)


def test_a_frozen_weight_stays_frozen():
    layer = nn.Linear(4, 4)
    layer.weight.requires_grad_(False)
    share_tensor(layer, "weight", Codebook(some_codes((4, 4), 2), 2))
    assert not values_of(layer).requires_grad


@pytest.mark.parametrize("later", [None, "mask", "uniform"])
def test_copies_baking_and_coming_back_from_a_state(later):
    layer = shared_linear(5)
    if later == "mask":
        parametrize.register_parametrization(layer, "weight", Mask(some_codes((20, 30), 1, seed=3)))
    if later == "uniform":
        parametrize.register_parametrization(layer, "weight", UniformQuantizer(3))
    network, inputs = nn.Sequential(layer), torch.randn(3, 30)
    fresh = nn.Sequential(nn.Linear(30, 20))
    impose(fresh, describe(network))
    fresh.load_state_dict(network.state_dict(), strict=True)
    copied, baked = copy.deepcopy(network), bake(network)
    assert type(baked[0]) is nn.Linear
    assert baked[0].weight.shape == (20, 30) and isinstance(baked[0].weight, nn.Parameter)
    with torch.no_grad():
        for other in (fresh, copied, baked):
            assert torch.equal(other(inputs), network(inputs))
        expected = network(inputs)
        for other in (fresh, copied, baked):
            for parameter in other.parameters():
                parameter.zero_()
        assert torch.equal(network(inputs), expected)


def test_the_native_form_is_the_codes_and_later_masks_make_zeros():
    layer = shared_linear(5)
    form = native_form(layer, "weight")
    assert isinstance(form, SharedTensor)
    assert torch.equal(form.codes, codes_of(layer)) and torch.equal(form.values, values_of(layer))
    for seed in (3, 4):
        parametrize.register_parametrization(layer, "weight", Mask(some_codes((20, 30), 1, seed=seed)))
        masked = native_form(layer, "weight")
        assert torch.equal(masked.dequantize(), layer.weight)
        assert (masked.codes == 0).sum() > (form.codes == 0).sum()
    parametrize.register_parametrization(layer, "weight", UniformQuantizer(3))
    assert not isinstance(native_form(layer, "weight"), SharedTensor)


def test_the_native_form_of_a_plain_or_masked_tensor_is_itself():
    layer = nn.Linear(4, 4)
    assert native_form(layer, "weight") is None
    parametrize.register_parametrization(layer, "weight", Mask(torch.ones(4, 4)))
    assert native_form(layer, "weight") is None


def test_costs_are_those_of_all_the_places_with_values_or_without():
    layer = shared_linear(5)
    cost = count_cost(layer, (30,))
    assert (cost.macs, cost.params) == (600, 620)
    assert cost.macs_effective == int((codes_of(layer) != 0).sum())
    on_meta = count_cost(copy.deepcopy(layer).to("meta"), (30,))
    assert (on_meta.macs, on_meta.params) == (600, 620)
