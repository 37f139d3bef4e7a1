"""A training that nobody follows, and what a state is that can't be gone on from."""

import pytest
import torch

from effbench.training.loop import TrainingOptions, fit
from effbench.training.watch import UnfitState, Unwatched


def train(model, data, watch, **options):
    return fit(
        model,
        data,
        TrainingOptions(epochs=2, lr=1e-2, batch_size=64, **options),
        side=data.side,
        generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
        loss=lambda outputs, images, targets: torch.nn.functional.cross_entropy(outputs, targets),
        count=watch.count,
        on_epoch=watch.on_epoch,
        checkpoint=watch,
    )


class Recording(Unwatched):
    """Counts nothing, and remembers."""

    def __init__(self, state=None):
        self.state, self.records, self.n_saved = state, [], 0

    def on_epoch(self, record, /):
        self.records.append(record)

    def load(self):
        return self.state

    def save(self, state, /):
        self.n_saved += 1


def test_to_follow_a_training_changes_nothing(toy_data, toy_network):
    alone, followed, watch = toy_network(), toy_network(), Recording()
    train(alone, toy_data, Unwatched())
    train(followed, toy_data, watch)
    assert all(map(torch.equal, alone.state_dict().values(), followed.state_dict().values()))
    assert [(record.epoch, record.n_epochs, record.n_examples) for record in watch.records] == [
        (1, 2, 203),
        (2, 2, 203),
    ]
    assert watch.n_saved == 2
    assert watch.records[0].network is followed


def test_the_example_that_is_left_alone_in_a_batch_is_not_counted(make_toy_data, toy_network):
    watch = Recording()
    train(toy_network(), make_toy_data(), watch, fraction=65 / 203)
    assert [record.n_examples for record in watch.records] == [64, 64]


def test_a_loss_that_is_no_number_is_told_and_not_kept(toy_data, toy_network):
    model, watch = toy_network(), Recording()
    with torch.no_grad():
        model[-1].weight[:] = float("nan")
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 1"):
        train(model, toy_data, watch)
    assert len(watch.records) == 1 and watch.n_saved == 0


@pytest.mark.parametrize("state", [{}, {"version": 0}, {"version": 1}, {"version": 1, "model": {}}])
def test_a_state_of_another_form_is_refused(state, toy_data, toy_network):
    with pytest.raises(UnfitState):
        train(toy_network(), toy_data, Recording(state))
