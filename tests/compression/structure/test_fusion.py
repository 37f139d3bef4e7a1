"""Norm, pooling and ReLU in one pass do what the modules do."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.compression.structure import fusion
from effbench.compression.structure.fusion import fused
from effbench.models import small_cnn
from effbench.tasks.classification import Classification
from effbench.training import loop
from effbench.training.evaluation import evaluate
from effbench.training.loop import TrainingOptions, fit

ORDERS = ["N", "NR", "NP", "NPR", "NRP"]
LAYERS = {"N": nn.BatchNorm2d, "R": lambda _: nn.ReLU(inplace=True), "P": lambda _: nn.MaxPool2d(2)}


def cross_entropy(outputs, images, targets):
    return F.cross_entropy(outputs, targets)


def stack(order, channels, seed=0):
    """Batch norm with weights of both signs, then what `order` says."""
    layers = nn.Sequential(*(LAYERS[letter](channels) for letter in order))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layers[0].weight.copy_(torch.randn(channels, generator=generator))
        layers[0].bias.copy_(torch.randn(channels, generator=generator))
    return layers


def some_maps(n, channels, height, width, dtype=torch.float32, seed=0):
    """Maps with a mean far from 0, channels-last; no two values of a channel's window of 2 are equal."""
    rng = np.random.default_rng(seed)
    values = rng.permuted(np.tile(np.arange(64), (n, channels, -(-height // 8), -(-width // 8), 1)), axis=-1)
    blocks = values.reshape(n, channels, -(-height // 8), -(-width // 8), 8, 8).swapaxes(3, 4)
    maps = blocks.reshape(n, channels, -(-height // 8) * 8, -1)[:, :, :height, :width]
    return torch.from_numpy(maps.copy()).to(dtype).contiguous(memory_format=torch.channels_last)


def passed(layers, maps):
    """Output, and the gradients of maps, weight and bias."""
    maps = maps.clone(memory_format=torch.preserve_format).requires_grad_()
    output = layers(maps * 1)  # in-place layers may not write on a leaf
    generator = torch.Generator().manual_seed(1)
    output.backward(torch.randn(output.shape, generator=generator).to(output.dtype))
    return output.detach(), maps.grad, layers[0].weight.grad, layers[0].bias.grad


@pytest.fixture
def calls(monkeypatch):
    """The shapes of the maps that went through in one pass."""
    seen = []
    apply = fusion._NormPoolReLU.apply

    def noted(maps, *rest):
        seen.append(tuple(maps.shape))
        return apply(maps, *rest)

    monkeypatch.setattr(fusion._NormPoolReLU, "apply", noted)
    return seen


@given(
    order=st.sampled_from(ORDERS),
    n=st.integers(1, 5),
    channels=st.sampled_from([1, 3, 8, 16, 40]),
    height=st.integers(2, 13),
    width=st.integers(2, 13),
    seed=st.integers(0, 100),
)
def test_results_are_those_of_the_modules(order, n, channels, height, width, seed):
    plain = stack(order, channels, seed)
    quick = copy.deepcopy(plain)
    maps = some_maps(n, channels, height, width, seed=seed)
    expected = passed(plain, maps)
    with fused(quick):
        found = passed(quick, maps)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-4)
    torch.testing.assert_close(dict(quick.named_buffers()), dict(plain.named_buffers()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(3, 8, 7, 6), (1, 5, 2, 2), (2, 40, 9, 9)])
def test_evaluation_uses_the_running_statistics(order, shape, calls):
    layers = stack(order, shape[1])
    with torch.no_grad():
        layers(some_maps(*shape, seed=1))  # these move the statistics
    layers.eval()
    maps = some_maps(*shape)
    with torch.inference_mode(), fused(layers):
        found = layers(maps.clone(memory_format=torch.preserve_format))
        elsewhere = layers(maps.contiguous())  # the modules, as the layout is another
    torch.testing.assert_close(found, elsewhere, rtol=1e-5, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert calls == [] and int(layers[0].num_batches_tracked) == 1


def test_evaluate_and_fit_run_in_one_pass_even_within_one_another(toy_data, monkeypatch, calls):
    evaluated = []
    monkeypatch.setattr(
        fusion._Pass, "_evaluated", lambda self, maps, _: evaluated.append(maps.shape) or self.norm(maps)
    )
    network = small_cnn(num_classes=4, input_side=8)

    def progress(step, n_steps):
        evaluate(network, toy_data, "val", task=Classification(), side=8)

    options = TrainingOptions(epochs=1, lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    cpu = torch.device("cpu")
    fit(network, toy_data, options, side=8, generator=generator, device=cpu, loss=cross_entropy, progress=progress)
    assert evaluated.count((61, 8, 8, 8)) == 4 and len(calls) == 4 * 6
    assert not any("forward" in vars(module) for module in network.modules())


@pytest.mark.parametrize("height", [10, 16])
def test_an_outlier_in_the_corner_costs_no_digits(height):
    layers = nn.Sequential(nn.BatchNorm2d(8))
    generator = torch.Generator().manual_seed(0)
    maps = 100 + 0.1 * torch.randn(16, 8, height, height, generator=generator)
    maps[:, :, 0, 0] = 0
    maps = maps.contiguous(memory_format=torch.channels_last)
    exact = copy.deepcopy(layers).double()(maps.double())
    with fused(layers):
        torch.testing.assert_close(layers(maps).double(), exact, rtol=0, atol=2e-4)


@pytest.mark.parametrize("order", ORDERS)
def test_bfloat16_maps_are_computed_in_float32_and_rounded_once(order):
    plain = stack(order, 8)
    quick = copy.deepcopy(plain)
    maps = some_maps(6, 8, 12, 9)  # whole numbers below 64 are exact in both
    output, *gradients = passed(plain, maps)
    with fused(quick):
        found, *found_gradients = passed(quick, maps.bfloat16())
    assert found.dtype == found_gradients[0].dtype == torch.bfloat16
    assert torch.equal(found, output.bfloat16()) or (found - output).abs().max() <= 2**-8 * output.abs().max()
    for one, other in zip(found_gradients, gradients, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0, atol=float(0.01 * other.abs().max()))


def test_of_equal_values_in_a_window_one_gets_the_gradient():
    layers = stack("NP", 8)
    maps = torch.cat([torch.zeros(1, 8, 4, 4), torch.ones(1, 8, 4, 4)]).contiguous(memory_format=torch.channels_last)
    gradient = torch.zeros(2, 8, 2, 2)
    gradient[0, :, 0, 0], gradient[1, :, 0, 0] = 1, 1  # with these, norm passes on what it gets, less a constant
    maps.requires_grad_()
    with fused(layers):
        layers(maps).backward(gradient)
    windows = maps.grad[:, :, :2, :2].flatten(2)
    assert all(len(window.unique()) == 2 for window in windows.flatten(0, 1))
    assert ((windows == windows.median(-1, keepdim=True).values).sum(-1) == 3).all()


def test_what_is_not_a_number_stays_so():
    layers = stack("NPR", 8)
    maps = some_maps(2, 8, 4, 4)
    maps[0, 3, 1, 1] = torch.nan
    with fused(layers):
        output, gradient, *_ = passed(layers, maps)
    assert output[:, 3].isnan().all() and gradient[:, 3].isnan().all()
    others = [0, 1, 2, 4, 5, 6, 7]
    assert not output[:, others].isnan().any() and not gradient[:, others].isnan().any()


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_evaluation_leads_what_is_not_a_number_through_a_pooling(corner):
    layers = stack("NPR", 8).eval()
    maps = some_maps(2, 8, 4, 4)
    maps[1, 3, 2 + corner[0], corner[1]] = torch.nan
    with torch.inference_mode(), fused(layers):
        output = layers(maps)
    assert output.isnan().nonzero().tolist() == [[1, 3, 1, 0]]


def test_a_frozen_norm_has_no_gradient_but_leads_it_on():
    layers = stack("NR", 8).requires_grad_(False)
    with fused(layers):
        _, gradient, of_weight, of_bias = passed(layers, some_maps(2, 8, 4, 4))
    assert of_weight is of_bias is None and gradient.abs().sum() > 0


def _to_eval(layers):
    layers.eval()
    return some_maps(2, 8, 4, 4)


def _to_default_layout(layers):
    return some_maps(2, 8, 4, 4).contiguous()


def _to_double(layers):
    layers.double()
    return some_maps(2, 8, 4, 4, torch.float64)


def _to_listened(number, listen):
    def change(layers):
        getattr(layers[number], listen)(lambda *_: None)
        return some_maps(2, 8, 4, 4)

    change.__name__ = f"_to_{listen}_{number}"
    return change


CHANGES = [_to_eval, _to_default_layout, _to_double]
CHANGES += [_to_listened(number, "register_forward_hook") for number in range(3)]
CHANGES += [_to_listened(1, "register_forward_pre_hook")]


@pytest.mark.parametrize("change", CHANGES)
def test_elsewhere_the_modules_run_as_they_are(change, calls):
    plain = stack("NPR", 8)
    quick = copy.deepcopy(plain)
    maps = change(quick)
    expected = passed(plain, change(plain))
    with fused(quick):
        found = passed(quick, maps)
    assert calls == []
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_on_two_threads_the_modules_run_as_they_are(calls):
    layers = stack("NR", 8)
    torch.set_num_threads(2)
    try:
        with fused(layers):
            passed(layers, some_maps(2, 8, 4, 4))
    finally:
        torch.set_num_threads(1)
    assert calls == []


def test_a_hook_on_the_norm_sees_its_own_output(calls):
    layers = stack("NPR", 8)
    maps, seen = some_maps(2, 8, 4, 4), []
    handle = layers[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    with fused(layers):
        passed(layers, maps)
        assert seen == [maps.shape] and calls == []
        handle.remove()
        passed(layers, maps)
    assert len(seen) == 1 and calls == [tuple(maps.shape)]


@pytest.mark.parametrize(
    ("shape", "order"),
    [((2, 4, 4, 4), "NR"), ((1, 8, 1, 1), "N"), ((2, 8, 1, 1), "NP"), ((2, 8, 4, 1), "NP")],
)
def test_maps_that_do_not_fit_are_refused_as_the_modules_refuse_them(shape, order):
    layers = stack(order, 8)
    with fused(layers), pytest.raises((RuntimeError, ValueError)):
        layers(some_maps(*shape))


def test_statistics_of_another_length_are_refused_before_anything_is_written():
    layers = stack("NR", 8)
    large = torch.full((8,), 7.0)
    layers[0].running_mean = large[:4]
    with fused(layers), pytest.raises(RuntimeError, match="running_mean"):
        layers(some_maps(2, 8, 4, 4))
    assert (large[4:] == 7).all()


def _in_place(norm, weight):
    with torch.no_grad():
        norm.weight.copy_(weight)


def _by_data(norm, weight):
    norm.weight.data = weight.clone()


def _assigned(norm, weight):
    state = {name: value.clone() for name, value in norm.state_dict().items()}
    norm.load_state_dict({**state, "weight": weight}, assign=True)


def _replaced(norm, weight):
    norm.weight = nn.Parameter(weight.clone())


@pytest.mark.parametrize("change", [_in_place, _by_data, _assigned, _replaced])
def test_parameters_may_change_meanwhile(change, calls):
    plain, quick = stack("NR", 8), stack("NR", 8)
    maps = some_maps(2, 8, 4, 4)
    with fused(quick):
        for layers in (quick, plain):
            layers(maps)
            change(layers[0], torch.linspace(-2, 2, 8))
        found = passed(quick, maps)
    for one, other in zip(found, passed(plain, maps), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-4)
    torch.testing.assert_close(dict(quick.named_buffers()), dict(plain.named_buffers()), rtol=1e-5, atol=1e-5)
    assert len(calls) == 2


def test_parameters_may_shrink_in_their_place():
    layers = stack("NR", 8)
    maps = some_maps(2, 8, 4, 4)
    with fused(layers):
        layers(maps)
        for tensor in (layers[0].weight, layers[0].bias, layers[0].running_mean, layers[0].running_var):
            tensor.data = tensor.data[:4]
        with pytest.raises(RuntimeError):
            layers(maps)
        assert layers(maps[:, :4].contiguous(memory_format=torch.channels_last)).shape == (2, 4, 4, 4)


def test_another_default_device_changes_nothing():
    layers = stack("NPR", 8)
    with fused(layers), torch.device("meta"):
        output = layers(some_maps(2, 8, 4, 4).cpu())
    assert output.device.type == "cpu"


class _Norm(nn.BatchNorm2d):
    def forward(self, maps):
        return maps


@pytest.mark.parametrize(
    "layers",
    [
        nn.Sequential(_Norm(8), nn.ReLU()),
        nn.Sequential(nn.BatchNorm2d(8).bfloat16(), nn.ReLU()),
        nn.Sequential(nn.BatchNorm2d(8, affine=False), nn.ReLU()),
        nn.Sequential(nn.BatchNorm2d(8, track_running_stats=False)),
        nn.Sequential(nn.BatchNorm2d(8, momentum=None)),
        nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.MaxPool2d(2)),
    ],
)
def test_other_norms_are_left_alone(layers, calls):
    with fused(layers):
        layers(some_maps(2, 8, 4, 4, next(layers.parameters(), torch.empty(0)).dtype))
    assert calls == []


@pytest.mark.parametrize("pooling", [nn.MaxPool2d(3, stride=2, padding=1), nn.MaxPool2d(2, ceil_mode=True)])
def test_other_poolings_run_after_the_norm(pooling, calls):
    layers = nn.Sequential(nn.BatchNorm2d(8), pooling, nn.ReLU(), nn.ReLU())
    plain = copy.deepcopy(layers)
    maps = some_maps(2, 8, 9, 9)
    with fused(layers):
        torch.testing.assert_close(layers(maps), plain(maps))
    assert calls == [(2, 8, 9, 9)]


def test_afterwards_the_network_is_as_it_was():
    network = small_cnn()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(KeyError), fused(network):
        assert "forward" in vars(network.features)
        raise KeyError
    assert not any("forward" in vars(module) for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.extended
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_goes_the_same_way(precision, toy_data, monkeypatch, calls):
    def trained():
        torch.manual_seed(0)
        network = small_cnn(num_classes=4, input_side=8)
        options = TrainingOptions(epochs=3, lr=3e-3, precision=precision)
        generator = torch.Generator().manual_seed(0)
        fit(network, toy_data, options, side=8, generator=generator, device=torch.device("cpu"), loss=cross_entropy)
        return network.state_dict()

    quick = trained()
    assert (64, 8, 8, 8) in calls
    monkeypatch.setattr(loop, "fused", lambda model: nullcontext())
    plain = trained()
    tolerance = {"float32": 0.001, "bfloat16": 0.1}[precision]
    for name, value in plain.items():
        assert (quick[name] - value).float().norm() <= tolerance * max(1, value.float().norm()), name
