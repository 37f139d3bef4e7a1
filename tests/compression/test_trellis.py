import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from effbench.compression.trellis import NEXT, best_multiples, codes_of, multiples_of

SEEDED = settings(deadline=None, derandomize=True, max_examples=50)
SHAPES = st.tuples(st.integers(0, 12), st.integers(0, 4))


@SEEDED
@given(SHAPES.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(-(2**29), 2**29))))
def test_any_codes_come_back(codes):
    multiples = multiples_of(codes)
    again, fits = codes_of(multiples)
    assert fits
    assert np.array_equal(again, codes)


def test_what_the_machine_does_not_allow_is_seen():
    assert not codes_of(np.array([[1]]))[1]  # an odd multiple is on the second grid, where no column begins
    assert codes_of(np.array([[2], [1]]))[1]


def chosen(values, price=0.0, held=None):
    costs = price * np.array([[0.5, *range(2, 40)], [0.5, *range(2, 40)]], float)
    multiples = np.zeros(len(values), np.int64)
    best_multiples(values, np.zeros(len(values), bool) if held is None else held, costs, multiples)
    return multiples, costs


@SEEDED
@given(arrays(float, st.integers(1, 5), elements=st.floats(-4, 4)), st.sampled_from([0.0, 0.1, 0.5]))
def test_no_allowed_sequence_costs_less(values, price):
    multiples, costs = chosen(values, price)

    def cost(codes):
        state, total = 0, 0.0
        for value, code in zip(values, codes, strict=True):
            multiple = 2 * code - np.sign(code) * (state >> 1)
            total += (value - multiple) ** 2 + costs[state >> 1, abs(code)]
            state = NEXT[state, code & 1]
        return total

    codes, fits = codes_of(multiples[:, None])
    assert fits
    least = min(map(cost, itertools.product(range(-3, 4), repeat=len(values))))
    assert cost(codes[:, 0]) == pytest.approx(least)


def test_what_is_held_is_zero():
    values = np.random.default_rng(0).normal(size=200) * 5
    held = np.arange(200) % 3 == 0
    multiples, _ = chosen(values, held=held)
    assert not multiples[held].any()
    assert codes_of(multiples[:, None])[1]
    assert np.abs(values - multiples)[~held].max() < 3


def test_errors_are_less_than_those_of_one_grid_at_equal_bits():
    """Of granular gain, 1.53 dB in all, four states have one (Marcellin and Fischer 1990, table I)."""
    values = np.random.default_rng(1).normal(size=40_000) * 12

    def bits(integers):
        _, counts = np.unique(integers, return_counts=True)
        return -(counts / counts.sum() * np.log2(counts / counts.sum())).sum()

    codes, _ = codes_of(chosen(values)[0][:, None])
    in_trellis = ((values - chosen(values)[0]) ** 2).mean()
    step = 2.0 ** (np.log2(12) + np.log2(np.sqrt(2 * np.pi * np.e)) - bits(codes))
    plain = np.round(values / step)
    assert bits(plain) == pytest.approx(bits(codes), abs=0.02)
    gain = 10 * np.log10(((values - plain * step) ** 2).mean() / in_trellis)
    assert 0.7 < gain < 1.2
