import pytest
import torch
from torch import nn

from effbench.training.norms import correct_biases, norms_of, reestimate_norms

CPU = torch.device("cpu")


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(288, 4)
    )


def test_statistics_are_those_of_what_comes_in():
    model, images = network(), torch.randn(60, 3, 8, 8) * 2 + 1
    model.train()
    model[1].momentum, model[1].num_batches_tracked = 0.3, torch.tensor(7)
    assert reestimate_norms(model, images.split(20), device=CPU) == 1
    outputs = model[0](images).detach()
    assert torch.allclose(model[1].running_mean, outputs.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(model[1].running_var, outputs.var((0, 2, 3)), rtol=0.05)
    assert (model[1].momentum, int(model[1].num_batches_tracked)) == (0.3, 7)
    assert all(module.training for module in model.modules())


def test_a_norm_that_is_not_reached_keeps_what_it_has_and_one_image_says_nothing():
    model = network()
    model.beside = nn.BatchNorm2d(5)
    model.forward = lambda images: model[5](model[4](model[2](model[1](model[0](images)))))
    model.beside.running_mean += 3
    reestimate_norms(model, [torch.randn(10, 3, 8, 8), torch.full((1, 3, 8, 8), 1e9)], device=CPU)
    assert model.beside.running_mean.tolist() == [3] * 5
    assert float(model[1].running_mean.abs().max()) < 10


@pytest.mark.parametrize("norm", [nn.LayerNorm(3), nn.BatchNorm1d(3, track_running_stats=False), nn.Identity()])
def test_without_statistics_there_is_nothing_to_do(norm):
    model = nn.Sequential(norm)
    assert norms_of(model) == []
    assert reestimate_norms(model, [torch.randn(4, 3)], device=CPU) == 0


def test_biases_bring_the_mean_output_back_layer_after_layer():
    reference, images = network().eval(), torch.randn(50, 3, 8, 8) + 0.5
    rounded = network().eval()
    with torch.no_grad():
        for layer in (rounded[0], rounded[5]):
            layer.weight.copy_(torch.round(layer.weight * 12) / 12 + 0.02)
    before = (rounded(images) - reference(images)).mean(0).abs().max()
    correct_biases(rounded, reference, images, device=CPU)
    assert (rounded(images) - reference(images)).mean(0).abs().max() < 1e-5 < before
    assert (rounded[0](images) - reference[0](images)).mean((0, 2, 3)).abs().max() < 1e-5


def test_a_bias_that_is_shared_or_held_is_left():
    reference, images = network().eval(), torch.randn(20, 3, 8, 8)
    rounded = network().eval()
    rounded[2].beside = nn.Linear(3, 8)  # a part that never runs
    rounded[2].beside.bias = rounded[0].bias
    rounded[0].weight.data *= 1.5
    before = rounded[0].bias.clone()
    correct_biases(rounded, reference, images, device=CPU)
    assert torch.equal(rounded[0].bias, before)
    assert not torch.equal(rounded[5].bias, reference[5].bias)
