"""The average of a training's weights is torch's own, norm statistics and masks with it."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import register
from effbench.tasks.classification import Classification
from effbench.training.averaging import WeightAverage
from effbench.training.evaluation import evaluate
from effbench.training.loop import TrainingOptions, fit

TASK, CPU = Classification(), torch.device("cpu")


def train(model, data, **options):
    model = copy.deepcopy(model)
    options = TrainingOptions(**{"epochs": 6, "lr": 1e-2, "batch_size": 32, **options})
    how = {"side": data.side, "generator": torch.Generator().manual_seed(0), "device": CPU}
    fit(model, data, options, **how, loss=lambda outputs, images, targets: TASK.loss(outputs, targets))
    return model


def test_is_that_of_torch(toy_network):
    model = toy_network()
    ours = WeightAverage(model, 0.8)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        with torch.no_grad():
            for tensor in (*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())):
                tensor.add_(torch.randn(tensor.shape, generator=generator))
        ours.update()
        theirs.update_parameters(model)
    expected = theirs.module.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in ours.network.state_dict().items())


def test_buffers_are_not_those_of_the_beginning_and_re_estimated_ones_are_no_better(toy_data, toy_network):
    averaged = train(toy_network(), toy_data, ema=0.9)
    (norm,) = (module for module in averaged.modules() if isinstance(module, nn.BatchNorm2d))
    assert not torch.allclose(norm.running_mean, torch.zeros(()), atol=1e-2)
    assert int(norm.num_batches_tracked) == 6 * 7
    again = copy.deepcopy(averaged)
    update_bn([images for images, _ in toy_data.batches("train", side=8, batch_size=203)], again)
    ours, best = (evaluate(model, toy_data, "test", task=TASK, side=8).quality for model in (averaged, again))
    assert ours > 0.9
    assert ours > best - 0.05


def test_without_steps_there_is_no_average(toy_data, toy_network):
    network = toy_network()
    trained = train(network, toy_data, ema=0.9, epochs=0).state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("constraint", ["mask", "quantizer"])
def test_constraints_hold(constraint, toy_data, toy_network):
    model = toy_network()
    mask = torch.rand(model[5].weight.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    register(model[5], "weight", Mask(mask) if constraint == "mask" else UniformQuantizer(2, granularity="tensor"))
    trained = train(model, toy_data, ema=0.8)
    if constraint == "mask":
        assert torch.equal(trained[5].weight == 0, ~mask)
    else:
        assert len(trained[5].weight.unique()) <= 3
    assert evaluate(trained, toy_data, "test", task=TASK, side=8).quality > 0.9


def test_a_masks_attention_is_averaged_under_the_right_names(toy_data):
    """While a mask is held its weight is listed elsewhere: averages must not go by the order of the parameters."""

    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 4)

        def forward(self, images):
            rows = images[:, 0]
            return self.head(self.attention(rows, rows, rows)[0].mean(1))

    torch.manual_seed(0)
    model = Attending()
    register(model.attention, "in_proj_weight", Mask(torch.rand(24, 8) < 0.5))
    one_step = {"epochs": 1, "batch_size": 203}
    plain, averaged = train(model, toy_data, **one_step), train(model, toy_data, **one_step, ema=0.5)
    expected = plain.state_dict()  # of one step the average is the network after it
    assert all(torch.equal(value, expected[name]) for name, value in averaged.state_dict().items())
