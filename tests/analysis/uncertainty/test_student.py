import math

import numpy as np
import pytest

from effbench.analysis.uncertainty.student import mean_interval, t_quantile


@pytest.mark.parametrize(("n", "expected"), [(2, 12.706), (3, 4.303), (5, 2.776), (10**6, 1.960)])
def test_quantiles_are_those_of_the_tables(n, expected):
    assert t_quantile(n) == pytest.approx(expected, abs=1e-3)


def test_one_value_has_no_interval():
    assert t_quantile(1) == math.inf and all(math.isnan(end) for end in mean_interval(np.array([1.0])))


def test_the_interval_of_a_mean_holds_it_in_95_of_100_samples():
    samples = np.random.default_rng(0).normal(3.0, 2.0, (2000, 3))
    held = [low <= 3.0 <= high for low, high in map(mean_interval, samples)]
    assert 0.935 < np.mean(held) < 0.965
