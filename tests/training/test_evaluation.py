import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effbench.training import evaluation
from effbench.training.device import resolve_device
from effbench.training.evaluation import Evaluation, evaluate


class Constant(nn.Module):
    """Says class 1 for every image, with the probability 0.7."""

    def forward(self, images):
        return torch.tensor([0.1, 0.7, 0.1, 0.1]).log().expand(len(images), 4)


def test_correct_is_in_the_order_of_the_split_and_counts_are_summed(toy_data, monkeypatch):
    labels = toy_data.labels["test"]
    expected_loss = torch.where(labels == 1, -math.log(0.7), -math.log(0.1)).mean().item()
    for batch_size in (62, 60, 7):  # 60 leaves a batch of 2: a mean of batch means would be another number
        monkeypatch.setattr(evaluation, "BATCH_SIZE", batch_size)
        result = evaluate(Constant(), toy_data, "test", side=8)
        assert np.array_equal(result.correct, (labels == 1).numpy())
        assert result.accuracy == int((labels == 1).sum()) / 62
        assert result.loss == pytest.approx(expected_loss, rel=1e-5)


def test_the_network_is_in_evaluation_mode_and_every_part_keeps_its_own(toy_data, toy_network):
    network = toy_network().train()
    network[1].eval()  # a frozen batch norm
    seen = []
    network[5].register_forward_hook(lambda module, *_: seen.append(module.training))
    modes = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, toy_data, "val", side=8)
    assert seen == [False]
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_the_mode_is_restored_when_the_network_fails(toy_data):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 4)).train()
    with pytest.raises(RuntimeError):
        evaluate(network, toy_data, "val", side=8)
    assert network.training


def test_agrees_with_one_pass_over_everything(toy_data, toy_network):
    network = toy_network().eval()
    images, labels = next(toy_data.batches("val", side=8, batch_size=1000))
    with torch.inference_mode():
        logits = network(images)
    result = evaluate(network, toy_data, "val", side=8)
    assert result.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert result.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)


def test_accuracy_is_correct_of_seen():
    assert Evaluation(correct=np.array([True, False, True]), loss=0.0).accuracy == 2 / 3


def test_resolves_devices_and_names_those_that_are_not_there():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "meta", "xpu"):
        with pytest.raises(ValueError, match=f"device={name}: must be auto, cpu, cuda, cuda:N or mps"):
            resolve_device(name)
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=rf"device={absent}: this machine has \d+ CUDA devices; device=auto"):
        resolve_device(absent)
