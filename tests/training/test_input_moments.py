"""That an error of a weight costs what its inputs' second moments say, in every layer that has them."""

import pytest
import torch
from torch import nn

from effbench.compression.feedback import output_error
from effbench.compression.layers import weights_of
from effbench.training.input_moments import input_moments, input_norms, output_curvatures

CPU = torch.device("cpu")


class Functional(nn.Module):
    """Calls its layer's weight itself."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, images):
        return nn.functional.linear(images.mean((2, 3)), weight=self.layer.weight, bias=self.layer.bias)


LAYERS = {
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(6 * 49, 5)), "1"),
    "linear on the last axis": (nn.Linear(7, 5), ""),
    "convolution": (nn.Conv2d(6, 8, 3), ""),
    "strided, padded, dilated": (nn.Conv2d(6, 8, 3, stride=2, padding=2, dilation=2), ""),
    "padded as it is": (nn.Conv2d(6, 8, (3, 5), padding="same"), ""),
    "reflected": (nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect"), ""),
    "grouped": (nn.Conv2d(6, 9, 3, groups=3), ""),
    "depthwise": (nn.Conv2d(6, 12, 3, groups=6, stride=2), ""),
    "one axis": (nn.Sequential(nn.Flatten(2), nn.Conv1d(6, 4, 5, stride=3)), "1"),
    "three axes": (nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv3d(2, 4, (2, 3, 3))), "1"),
    "a call of its own": (Functional(), "layer"),
}


def outputs_of(network, images):
    with torch.no_grad():
        return network.double()(images.double())


@pytest.mark.parametrize("kind", LAYERS)
def test_the_error_that_they_predict_is_the_one_that_is_measured(kind):
    """TICO#415, gptq#35: also with stride, padding, dilation and groups, which share no input."""
    network, name = LAYERS[kind]
    torch.manual_seed(0)
    images = torch.randn(10, 6, 7, 7)
    network.float()
    (weight,) = weights_of(network)
    moments = input_moments(network, [weight], images.split(4), device=CPU)[name]
    before = outputs_of(network, images)
    plain = weight.value().clone().reshape(len(weight.value()), -1).double()
    with torch.no_grad():
        weight.module.weight += 0.1 * torch.randn_like(weight.module.weight)
    changed = weight.value().reshape(len(plain), -1).double()
    measured = float((outputs_of(network, images) - before).square().sum()) / len(images)
    groups = (rows.reshape(len(moments), -1, rows.shape[1]) for rows in (plain, changed))
    predicted = output_error(*groups, moments)
    assert predicted == pytest.approx(measured, rel=1e-4)


@pytest.mark.parametrize("kind", LAYERS)
def test_norms_are_those_of_what_each_number_is_multiplied_with(kind):
    network, name = LAYERS[kind]
    images = torch.randn(10, 6, 7, 7, generator=torch.Generator().manual_seed(0))
    network.float()
    (weight,) = weights_of(network)
    moments = input_moments(network, [weight], images.split(4), device=CPU)[name]
    norms = input_norms(network, [weight], images.split(4), device=CPU)[name]
    assert norms.shape == weight.value().shape
    each = (10 * moments.diagonal(dim1=1, dim2=2)).sqrt().float()
    rows = norms.reshape(len(each), -1, each.shape[1])
    assert torch.allclose(rows, each[:, None].expand_as(rows), rtol=1e-4)


@pytest.mark.parametrize("groups", [1, 3])
def test_norms_of_a_transposed_convolution_are_those_of_its_channels(groups):
    layer, images = nn.ConvTranspose2d(6, 9, 3, groups=groups), torch.randn(4, 6, 5, 5)
    (norms,) = input_norms(layer, weights_of(layer), images.split(2), device=CPU).values()
    assert norms.shape == layer.weight.shape
    assert torch.allclose(norms, images.square().sum((0, 2, 3)).sqrt()[:, None, None, None].expand_as(norms))


def test_norms_are_seen_of_weights_of_any_size_of_attention_and_of_recurrent_layers(monkeypatch):
    monkeypatch.setattr("effbench.training.input_moments.MOST_COLUMNS", 20)
    network = nn.Sequential(
        nn.Flatten(2), nn.TransformerEncoderLayer(49, 7, 16, dropout=0.0, batch_first=True), nn.LSTM(49, 3)
    )
    weights = list(weights_of(network))
    seen = input_norms(network, weights, torch.randn(10, 6, 7, 7).split(5), device=CPU)
    assert set(seen) == {weight.name for weight in weights}
    with pytest.raises(ValueError, match=r"the input of 1\.self_attn\.in_proj_weight is not finite"):
        input_norms(network, weights, [torch.full((2, 6, 7, 7), torch.nan)], device=CPU)


def test_attention_shows_the_inputs_of_both_projections():
    """pytorch#128413: the fused path of evaluation shows nothing."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(49, 7, 16, dropout=0.0, batch_first=True))
    weights = list(weights_of(network))
    moments = input_moments(network, weights, torch.randn(10, 6, 7, 7).split(5), device=CPU)
    assert set(moments) == {weight.name for weight in weights}
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_network_is_left_as_it_was():
    network = nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    input_moments(network, weights_of(network), [torch.randn(5, 6, 7, 7)], device=CPU)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_few_images_at_a_time_give_the_same(monkeypatch):
    torch.manual_seed(0)
    network, images = nn.Conv2d(6, 8, 3), torch.randn(7, 6, 7, 7)
    (whole,) = input_moments(network, weights_of(network), [images], device=CPU).values()
    monkeypatch.setattr("effbench.training.input_moments._MOST_ENTRIES", 6 * 49 * 9 * 2)
    (parts,) = input_moments(network, weights_of(network), [images], device=CPU).values()
    assert torch.allclose(parts, whole, rtol=1e-5, atol=1e-4)


def test_what_has_too_many_columns_is_left_out(monkeypatch):
    monkeypatch.setattr("effbench.training.input_moments.MOST_COLUMNS", 20)
    network = nn.Sequential(nn.Flatten(), nn.Linear(21, 20), nn.Linear(20, 2))
    assert set(input_moments(network, weights_of(network), [torch.randn(3, 21)], device=CPU)) == {"2"}


def test_a_weight_in_two_places_has_the_sum_of_both():
    torch.manual_seed(0)
    one = nn.Linear(5, 5)
    tied = nn.Sequential(one, nn.ReLU(), nn.Linear(5, 5))
    tied[2].weight = one.weight
    images = torch.randn(9, 5)
    (moments,) = input_moments(tied, weights_of(tied), [images], device=CPU).values()
    with torch.no_grad():
        inner = tied[:2](images)
    expected = (images.T @ images + inner.T @ inner) / 9
    assert torch.allclose(moments[0].float(), expected, rtol=1e-4)


def test_a_part_of_a_weight_is_not_taken_for_the_whole():
    """Keys that are no queries are multiplied with another part of attention's one weight."""

    class Cross(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(7, 1, batch_first=True)

        def forward(self, images):
            return self.attention(images[:, 0], images[:, 1], images[:, 2])[0]

    network = Cross()
    seen = input_moments(network, weights_of(network), [torch.randn(5, 6, 7, 7)], device=CPU)
    assert set(seen) == {"attention.out_proj"}


def test_an_input_that_is_not_finite_is_named():
    network = nn.Sequential(nn.Flatten(), nn.Linear(5, 5))
    with pytest.raises(ValueError, match="the input of 1 is not finite"):
        input_moments(network, weights_of(network), [torch.full((2, 5), torch.inf)], device=CPU)


def test_curvature_is_the_squared_gradient_of_a_drawn_class():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))
    network[1].requires_grad_(False)
    images = torch.randn(40, 3, 2, 2)
    found = output_curvatures(
        network,
        list(weights_of(network)),
        images.split(16),
        device=CPU,
        generator=torch.Generator().manual_seed(0),
    )
    # Of a drawn class the gradient of the last layer's output is p - y: its square has the mean p (1 - p).
    chances = network(images).softmax(1)
    assert found["3"] == pytest.approx(float((chances * (1 - chances)).detach().mean()), rel=0.2)
    assert 0 < found["1"] < found["3"]
    assert [parameter.requires_grad for parameter in network.parameters()] == [False, False, True, True]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_outputs_that_are_no_logits_have_no_curvature():
    network = nn.Sequential(nn.Flatten(0), nn.Linear(12, 1))
    with pytest.raises(ValueError, match="logits"):
        output_curvatures(
            network, list(weights_of(network)), [torch.randn(1, 3, 2, 2)], device=CPU, generator=torch.Generator()
        )
