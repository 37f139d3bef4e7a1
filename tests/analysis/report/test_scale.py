"""Scales of the report's figure: within their pixels, with round ticks, for whatever values there are."""

import pytest

from effbench.analysis.report.scale import Scale


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-3.0, 5.0), (0.9, 0.9), (0.0, 0.0), (1e-9, 2e-9), (1e9, 7e12)])
@pytest.mark.parametrize("is_logarithmic", [False, True])
def test_values_have_room_and_ticks_lie_on_the_scale(low, high, is_logarithmic):
    if is_logarithmic and not high > low > 0:
        pytest.skip("a logarithmic scale is only made for positive values that differ")
    scale = Scale.around(low, high, start=50, end=450, is_logarithmic=is_logarithmic)
    assert 50 < scale.place(low) <= scale.place(high) < 450
    ticks = scale.ticks(6)
    assert 1 <= len(ticks) <= 6 and ticks == sorted(set(ticks))
    assert all(scale.low <= tick <= scale.high for tick in ticks)


def test_an_axis_may_go_upwards_and_what_is_outside_lies_at_its_end():
    scale = Scale(low=0, high=10, start=100, end=0)
    assert [scale.place(value) for value in (0, 5, 10, 99, -1)] == [100, 50, 0, 0, 100]
