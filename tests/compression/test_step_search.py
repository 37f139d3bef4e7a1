import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.compression.even_grid import entropy_bits, nearest_multiples
from effbench.compression.step_search import WITHIN, bounds_of, fewest, step_by_entropy, step_of_length


@pytest.mark.parametrize("n_bytes", [100, 1000, 3000])
def test_the_entropy_is_that_of_so_many_bytes(n_bytes):
    values = [torch.randn(2000, generator=torch.Generator().manual_seed(0)), torch.linspace(-3, 3, 500)]
    step = step_by_entropy(values, n_bytes)
    assert sum(entropy_bits(nearest_multiples(value, step)) for value in values) / 8 == pytest.approx(n_bytes, rel=0.05)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.floats(0.05, 0.95), st.floats(0.5, 4), st.floats(-15, 5))
def test_the_length_is_found_from_any_guess_on(share, bend, guess):
    least, bounds, n_trials = 300, (-20.0, 8.0), 0

    def length_at(step):
        nonlocal n_trials
        n_trials += 1
        return round(least + 1e6 * ((bounds[1] - math.log2(step)) / 28) ** bend)

    wanted = least + 1e6 * share
    step = step_of_length(length_at, wanted, first=2.0**guess, bounds=bounds, least=least)
    assert n_trials <= 16
    assert abs(length_at(step) - wanted) <= WITHIN * wanted


def test_where_no_step_has_the_length_the_nearest_is_taken():
    step = step_of_length(lambda step: 1000 if step < 1 else 500, 600, first=0.1, bounds=(-10, 10), least=0)
    assert step >= 1


def test_at_the_coarsest_all_is_zero():
    values = [torch.tensor([0.3, -2.0]), torch.zeros(3)]
    low, high = bounds_of(values)
    assert low < high
    assert not any(nearest_multiples(value, 2.0**high * 1.001).any() for value in values)


@given(st.integers(0, 60), st.integers(0, 2000), st.integers(1, 40))
def test_the_fewest_that_are_short_enough(most, wanted, each):
    tried = []

    def length_at(number):
        tried.append(number)
        return 1000 - each * number

    found = fewest(length_at, wanted, most=most)
    assert 0 <= found <= most
    if length_at(found) > wanted:
        assert found == most
    elif found:
        assert length_at(found - 1) > wanted or length_at(found) >= (1 - WITHIN) * wanted
    assert len(set(tried)) <= 10
