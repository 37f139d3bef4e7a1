import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from effbench.compression.code_cost import CodeCost

CPU = torch.device("cpu")


def density(shape, seed=0):
    """Return a density that has learned something, in float64."""
    cost = CodeCost(torch.Size(shape), device=CPU)
    generator = torch.Generator().manual_seed(seed)
    cost.learned = {
        name: value.double() + 0.3 * torch.randn(value.shape, generator=generator).double()
        for name, value in cost.learned.items()
    }
    return cost


def bits_of(cost, numbers):
    return float(cost._bits_and_slopes(numbers)[0])


def slope_by_differences(function, at, place, width=1e-5):
    ends = []
    for sign in (1, -1):
        moved = at.clone()
        moved.view(-1)[place] += sign * width
        ends.append(function(moved))
    return (ends[0] - ends[1]) / (2 * width)


@given(st.integers(0, 1000), st.floats(0.05, 4))
def test_the_slopes_are_those_of_the_bits(seed, spread):
    cost = density((4, 5), seed)
    numbers = spread * torch.randn(4, 5, generator=torch.Generator().manual_seed(seed)).double()
    numbers = torch.where((numbers.abs() - 0.5).abs() < 1e-3, 0.7, numbers)
    _, slopes, _ = cost._bits_and_slopes(numbers)
    for place in (0, 7, 19):
        expected = slope_by_differences(lambda moved: bits_of(cost, moved), numbers, place)
        assert float(slopes.view(-1)[place]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", ["shares", "sizes", "rows", "columns"])
def test_what_is_learned_goes_down_the_bits_and_the_prior(name):
    cost = density((4, 5))
    numbers = 1.5 * torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).double()
    slopes = cost._bits_and_slopes(numbers)[2][name]
    learned = cost.learned

    def nats(value):
        cost.learned = {**learned, name: value}
        prior = 0.5 * float(value.square().sum()) if name in ("rows", "columns") else 0.0
        return bits_of(cost, numbers) * math.log(2) + prior

    for place in range(3):
        assert float(slopes.view(-1)[place]) == pytest.approx(
            slope_by_differences(nats, learned[name], place), rel=1e-4, abs=1e-6
        )


def test_the_chances_of_all_codes_sum_to_one():
    cost = density((1, 1))
    chances = [2.0 ** -bits_of(cost, torch.full((1, 1), float(code)).double()) for code in range(-200, 201)]
    assert sum(chances) == pytest.approx(1, abs=1e-4)


def test_it_learns_what_codes_cost():
    generator = torch.Generator().manual_seed(0)
    spreads = torch.logspace(-1, 0.7, 64).unsqueeze(1)
    codes = torch.round(spreads * torch.empty(64, 400).exponential_(generator=generator))
    codes *= torch.randint(0, 2, codes.shape, generator=generator) * 2 - 1
    cost = CodeCost(codes.shape, device=CPU)
    first, _ = cost.learn(codes)
    cost.fit(codes)
    learned, _ = cost.learn(codes)
    _, counts = torch.unique(codes, return_counts=True)
    entropy = float((counts * torch.log2(codes.numel() / counts)).sum())
    assert learned < first
    assert learned < 0.9 * entropy  # as the spread of its rows is known


def test_zero_costs_little_where_all_is_zero_and_nothing_is_infinite():
    cost = CodeCost(torch.Size((20, 30)), device=CPU)
    zeros = torch.zeros(20, 30)
    cost.fit(zeros)
    for _ in range(300):
        bits, slopes = cost.learn(zeros)
    assert float(bits) < 10
    assert torch.equal(slopes, zeros)
    far = torch.tensor([0.0, 1e-30, 0.5, 3.0, 1e6, -1e6])
    bits, slopes = CodeCost(far.shape, device=CPU).learn(far)
    assert bool(bits.isfinite()) and bool(slopes.isfinite().all())


def test_it_goes_on_from_its_state():
    numbers = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    one, other = (CodeCost(numbers.shape, device=CPU) for _ in range(2))
    one.learn(numbers)
    other.load_state_dict(one.state_dict())
    for _ in range(3):
        expected, found = one.learn(numbers), other.learn(numbers)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
