import pytest

from effbench.training.length import Length


@pytest.mark.parametrize(
    ("n_examples", "batch_size", "batches", "steps"),
    [(203, 32, 7, 7), (203, 101, 3, 2), (1, 8, 1, 1), (3, 1, 3, 3), (64, 64, 1, 1), (65, 64, 2, 1)],
)
def test_a_last_batch_of_one_example_is_no_step(n_examples, batch_size, batches, steps):
    length = Length(epochs=3, n_examples=n_examples, batch_size=batch_size)
    assert (length.batches_per_epoch, length.steps_per_epoch) == (batches, steps)
    assert (length.n_batches, length.n_steps) == (3 * batches, 3 * steps)
