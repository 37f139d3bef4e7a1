"""The learning rate over a training: effbench's own, torch's schedulers, and what is refused before anything starts."""

import pytest

from effbench.training.schedules import warm_up_then_cosine


@pytest.mark.parametrize("n_steps", [1, 2, 10, 500])
def test_the_learning_rate_rises_and_then_falls_along_a_cosine_to_zero(n_steps):
    factor = warm_up_then_cosine(n_steps, max(1, round(0.1 * n_steps)))
    factors = [factor(step) for step in range(n_steps)]
    peak = factors.index(max(factors))
    assert max(factors) == pytest.approx(1)
    assert min(factors) > 0
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert peak <= max(1, 0.1 * n_steps)
    if n_steps == 500:
        assert factors[0] == pytest.approx(1 / 50)
        assert factors[275] == pytest.approx(0.5)  # half of the way down
        assert factors[-1] < 1e-4
