"""Global generators are lent to a user's code, and given back as they were."""

import random

import numpy as np
import pytest
import torch

from effbench.data.random_states import are_equal, global_states, lent_generators

DRAWS = {"python": random.random, "numpy": lambda: np.random.rand(3), "torch": lambda: torch.rand(3)}


def draw_all():
    return [float(np.asarray(draw()).sum()) for draw in DRAWS.values()]


def test_what_is_drawn_or_seeded_inside_is_not_seen_outside():
    before = global_states()
    with lent_generators(3):
        first = draw_all()
        torch.manual_seed(1), np.random.seed(1), random.seed(1)
    assert are_equal(before, global_states())
    with pytest.raises(KeyError), lent_generators(3):
        assert draw_all() == first
        raise KeyError
    assert are_equal(before, global_states())
    with lent_generators(4):
        assert draw_all() != first


@pytest.mark.parametrize("name", DRAWS)
def test_a_draw_of_any_generator_shows(name):
    with lent_generators(0):
        before = global_states()
        assert are_equal(before, global_states())
        DRAWS[name]()
        assert not are_equal(before, global_states())


def test_tensors_made_inside_are_plain_ones():
    with torch.inference_mode(), lent_generators(0):
        assert torch.is_grad_enabled()
        assert not torch.ones(1).is_inference()
