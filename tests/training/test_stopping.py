"""When a training ends, and which of its networks is kept."""

import copy

import pytest
import torch

from effbench.compression.constraints.masks import RampedMask
from effbench.compression.constraints.stack import register
from effbench.tasks.classification import Classification
from effbench.training.evaluation import Evaluation
from effbench.training.loop import TrainingOptions, fit
from effbench.training.stopping import Stopping

TASK = Classification()


def train(model, data, scores, **options):
    """Train a copy that is told how good it is after each epoch; return it, the outcome, and its weights by epoch."""
    model, weights, scores = copy.deepcopy(model), [], iter(scores)

    def validate(network):
        weights.append(network[5].weight.detach().clone())
        counts = torch.tensor([[[round(100 * next(scores)), 100]]]).numpy()
        return Evaluation(counts={"accuracy": counts}, kinds={"accuracy": "ratio"}, direction="higher", loss=1.0)

    outcome = fit(
        model,
        data,
        TrainingOptions(**{"epochs": 6, "lr": 1e-2, "batch_size": 64, **options}),
        side=8,
        generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
        loss=lambda outputs, images, targets: TASK.loss(outputs, targets),
        validate=validate,
    )
    return model, outcome, weights


@pytest.mark.parametrize(
    ("patience", "scores", "n_epochs", "best"),
    [
        (1, [0.5, 0.6, 0.6], 3, 2),  # as good is not better
        (2, [0.5, 0.4, 0.45, 0.9], 3, 1),
        (2, [0.5, 0.4, 0.6, 0.5, 0.7, 0.1], 6, 5),
        (1, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 6, 6),
        (6, [0.9, 0.1, 0.1, 0.1, 0.1, 0.1], 6, 1),
    ],
)
@pytest.mark.parametrize("keep", ["last", "best"])
def test_ends_when_validation_was_no_better_for_so_long(patience, scores, n_epochs, best, keep, toy_data, toy_network):
    model, outcome, weights = train(toy_network(), toy_data, scores, stop_after=patience, keep=keep)
    assert (outcome.n_epochs, outcome.best_epoch, outcome.stopped_early) == (n_epochs, best, n_epochs < 6)
    assert len(weights) == n_epochs
    assert torch.equal(model[5].weight, weights[best - 1 if keep == "best" else -1])


def test_nobody_is_asked_where_nothing_depends_on_it(toy_data, toy_network):
    _, outcome, weights = train(toy_network(), toy_data, [])
    assert (weights, outcome.best_epoch, outcome.stopped_early) == ([], 0, False)


def test_looking_changes_no_bit_of_the_training(toy_data, toy_network):
    looked, _, _ = train(toy_network(), toy_data, [0.1] * 6, stop_after=6)
    plain, _, _ = train(toy_network(), toy_data, [])
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in looked.state_dict().items())


def test_no_network_counts_while_a_mask_still_closes(toy_data, toy_network):
    model = toy_network()
    weight = model[5].weight
    how = {"n_start": weight.numel(), "n_kept": weight.numel() // 8, "dims": (), "every": 1, "regrow": False}
    register(model[5], "weight", RampedMask(torch.ones_like(weight), ramp=0.5, **how))
    scores = [0.9, 0.8, 0.7, 0.5, 0.6, 0.4]  # worse as it closes, through the first half of the steps
    trained, outcome, _ = train(model, toy_data, scores, stop_after=2, keep="best")
    assert outcome.best_epoch == 5
    assert int((trained[5].weight != 0).sum()) == weight.numel() // 8


def test_a_quality_that_is_no_number_is_no_better():
    stopping = Stopping(TrainingOptions(epochs=3, lr=0.1, stop_after=2))
    for epoch, score in enumerate((float("nan"), 0.1, float("nan")), start=1):
        stopping.note(epoch, score, {})
    assert (stopping.best_epoch, stopping.n_worse, stopping.is_over) == (2, 1, False)
