import random

import numpy as np
import torch

from effbench.training.seeds import random_states_kept, seed_all, seed_for


def draw():
    return torch.rand(()).item(), random.random(), np.random.rand()


def test_the_global_generators_are_left_as_they_were():
    seed_all(5)
    expected = draw()
    seed_all(5)
    with random_states_kept():
        seed_all(6)
        assert all(one != other for one, other in zip(draw(), expected, strict=True))
    assert draw() == expected


def test_seeds_of_places_are_their_own():
    places = {seed_for(base, epoch, number) for base in (0, 1) for epoch in range(20) for number in range(20)}
    assert len(places) == 800
    assert all(0 <= seed < 2**63 for seed in places)
    assert seed_for(1, 23) != seed_for(1, 2, 3) != seed_for(12, 3)
