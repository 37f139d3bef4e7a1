"""How good a network is on a split: counts of every example, in the split's order, from which the rest follows."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effbench.tasks.classification import Classification
from effbench.training import evaluation
from effbench.training.evaluation import Evaluation, evaluate

TASK = Classification()


class Constant(nn.Module):
    """Says class 1 for every image, with the probability 0.7."""

    def forward(self, images):
        return torch.tensor([0.1, 0.7, 0.1, 0.1]).log().expand(len(images), 4)


def test_counts_are_in_the_order_of_the_split_and_summed_before_any_division(toy_data, monkeypatch):
    labels = toy_data.labels["test"]
    expected_loss = torch.where(labels == 1, -math.log(0.7), -math.log(0.1)).mean().item()
    for batch_size in (62, 60, 7):  # 60 leaves a batch of 2: a mean of batch means would be another number
        monkeypatch.setattr(evaluation, "BATCH_SIZE", batch_size)
        result = evaluate(Constant(), toy_data, "test", task=TASK, side=8)
        counts = result.counts["accuracy"]
        assert counts.shape == (62, 1, 2)
        assert counts.dtype == np.int64
        assert np.array_equal(counts[:, 0, 0], (labels == 1).numpy())
        assert np.array_equal(counts[:, 0, 1], np.ones(62))
        assert result.quality == int((labels == 1).sum()) / 62
        assert result.loss == pytest.approx(expected_loss, rel=1e-5)


def test_the_network_is_in_evaluation_mode_and_every_part_keeps_its_own(toy_data, toy_network):
    network = toy_network().train()
    network[1].eval()  # a frozen batch norm
    seen = []
    network[5].register_forward_hook(lambda module, *_: seen.append(module.training))
    modes = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, toy_data, "val", task=TASK, side=8)
    assert seen == [False]
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_the_mode_is_restored_when_the_network_fails(toy_data):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 4)).train()
    with pytest.raises(RuntimeError):
        evaluate(network, toy_data, "val", task=TASK, side=8)
    assert network.training


def test_agrees_with_one_pass_over_everything(toy_data, toy_network):
    network = toy_network().eval()
    images, labels = next(toy_data.batches("val", side=8, batch_size=1000))
    with torch.inference_mode():
        logits = network(images)
    result = evaluate(network, toy_data, "val", task=TASK, side=8)
    assert result.quality == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert result.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)


def test_what_is_known_of_each_example_comes_where_it_is_asked_for(toy_data):
    assert evaluate(Constant(), toy_data, "test", task=TASK, side=8).examples == {}
    examples = evaluate(Constant(), toy_data, "test", task=TASK, side=8, with_examples=True).examples
    assert np.array_equal(examples["group"], toy_data.labels["test"].numpy())
    assert np.array_equal(examples["predicted"], np.ones(62))
    assert examples["confidence"] == pytest.approx(np.full(62, 0.7))


COUNTS = {"first": np.array([[[1, 1]], [[0, 1]], [[1, 1]]]), "second": np.array([[[3, 4]], [[0, 2]], [[1, 0]]])}


class TestEvaluation:
    def test_every_quality_follows_from_its_counts_and_the_first_is_the_tasks_own(self):
        found = Evaluation(counts=COUNTS, kinds={"first": "ratio", "second": "ratio"}, direction="higher", loss=0.0)
        assert found.qualities == {"first": 2 / 3, "second": 4 / 6}
        assert found.quality == found.score == 2 / 3
        assert found.own_counts is COUNTS["first"]

    def test_where_lower_is_better_the_score_is_turned(self):
        found = Evaluation(counts=COUNTS, kinds={"first": "exp_of_ratio"}, direction="lower", loss=0.0)
        assert found.quality == pytest.approx(math.exp(2 / 3))
        assert found.score == -found.quality

    def test_it_is_one_of_the_split_and_can_not_be_changed(self):
        found = Evaluation(counts=COUNTS, kinds={"first": "ratio"}, direction="higher", loss=0.0)
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.loss = 1.0
