"""What a stage may ask for: its own random numbers, examples, gradients; what is not at hand is an error."""

import pytest
import torch
from torch import nn

from effbench.plan.context import Context


def test_draws_the_same_numbers_whatever_ran_before(toy_data, make_context):
    context = make_context(toy_data, seed=3, step="prune")
    first = torch.rand(5, generator=context.generator())
    torch.rand(100)
    assert torch.equal(first, torch.rand(5, generator=context.generator()))
    for other in (make_context(toy_data, seed=4, step="prune"), make_context(toy_data, seed=3, step="prune/1")):
        assert not torch.equal(first, torch.rand(5, generator=other.generator()))


def test_its_example_are_two_images_of_validation(toy_data, make_context):
    context = make_context(toy_data, side=6)
    expected = next(toy_data.batches("val", side=6, batch_size=2))[0]
    assert torch.equal(context.example(), expected)
    assert context.example().shape == (2, 1, 6, 6)


def test_gradients_are_those_of_its_task_on_training_examples(toy_data, toy_network, make_context):
    context, network = make_context(toy_data), toy_network().eval()
    ((total,), n_seen) = context.sum_gradients(network, lambda: [network[5].bias])
    images, labels = next(toy_data.batches("train", side=8, batch_size=1000))
    loss = nn.functional.cross_entropy(network(images), labels, reduction="sum")
    (expected,) = torch.autograd.grad(loss, [network[5].bias])
    assert n_seen == 203
    torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-4)


def test_what_is_not_offered_is_an_error(toy_data, toy_network, make_context):
    given = make_context(toy_data)
    bare = Context(
        **{
            name: getattr(given, name)
            for name in ("data", "task", "side", "seed", "step", "device", "evaluate", "cost")
        }
    )
    with pytest.raises(ValueError, match="train: no earlier network is at hand"):
        bare.snapshot("train")
    with pytest.raises(ValueError, match="no teacher is at hand"):
        bare.teacher()
    with pytest.raises(ValueError, match="no validation split is at hand"):
        bare.validate(toy_network())
    assert torch.equal(bare.keep("name", lambda: torch.ones(2)), torch.ones(2))
