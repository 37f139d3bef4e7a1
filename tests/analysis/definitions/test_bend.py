import numpy as np
import pytest

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.definitions.bend import stands_out
from effbench.analysis.definitions.exchange import Marginal
from effbench.analysis.definitions.knee import Kneedle
from tests.analysis.conftest import runs_of

COSTS = [1600, 800, 400, 200, 100, 50]


def curve(qualities):
    points = [
        ("reference" if not n else f"a={n}", cost, q) for n, (cost, q) in enumerate(zip(COSTS, qualities, strict=True))
    ]
    return curve_of(runs_of(points, seeds=(0,)), cost="size_bytes")


def noisy(truth, deviation, generator):
    """A curve about the truth, and what resamples make of it: (1000, 6) losses."""
    on = curve(np.asarray(truth) + np.r_[0, generator.normal(0, deviation, len(truth) - 1)])
    noise = np.c_[generator.normal(0, deviation, (1000, len(truth) - 1)), np.zeros(1000)]
    return on, on.losses + noise


def test_a_clear_bend_stands_out_and_a_straight_line_does_not():
    generator = np.random.default_rng(0)
    bent, drawn = noisy([0.95, 0.949, 0.948, 0.94, 0.9, 0.8], 0.002, generator)
    assert stands_out(bent, drawn, bent.labels.index("a=3"), is_log=True)
    straight, drawn = noisy(0.95 - 0.01 * np.arange(6), 0.002, generator)
    assert not any(stands_out(straight, drawn, row, is_log=True) for row in range(6))


def test_ends_never_stand_out_and_without_noise_every_height_does():
    bent = curve([0.95, 0.949, 0.948, 0.94, 0.9, 0.8])
    drawn = np.repeat(bent.losses[None], 100, axis=0)
    assert [stands_out(bent, drawn, row, is_log=True) for row in range(6)] == [False, True, True, True, True, False]
    sunken = curve([0.95, 0.9, 0.87, 0.86, 0.855, 0.854])
    drawn = np.repeat(sunken.losses[None], 100, axis=0)
    assert not any(stands_out(sunken, drawn, row, is_log=True) for row in range(6))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("slope", [0.0, 0.01])
@pytest.mark.parametrize("method", [Marginal(), Kneedle(cost_axis="log")], ids=["marginal", "kneedle"])
def test_noise_about_a_straight_line_is_hardly_ever_a_knee(method, slope):
    generator = np.random.default_rng(1)
    false = 0
    for _ in range(300):
        on, drawn = noisy(0.95 - slope * np.arange(6), 0.005, generator)
        false += method.choose(on, drawn).outcome == "chosen"
    assert false <= 8  # 1 % of 300, and two and a half deviations


@pytest.mark.extended
def test_a_true_knee_is_found_in_noise():
    generator = np.random.default_rng(2)
    near = 0
    for _ in range(100):
        on, drawn = noisy([0.95, 0.95, 0.949, 0.945, 0.9, 0.8], 0.003, generator)
        row = Marginal().choose(on, drawn).row
        near += row is not None and on.labels[row] in ("a=2", "a=3", "a=4")
    assert near >= 95


@pytest.mark.extended
def test_what_is_dearer_than_the_reference_makes_no_knee():
    # A line from the cheapest point to a bad one beyond the reference would lie below everything.
    generator = np.random.default_rng(3)
    for _ in range(40):
        points = [(f"a={n}" if n else "reference", cost, 0.95 - 0.01 * n) for n, cost in enumerate(COSTS)]
        noise = generator.normal(0, 0.004, len(points)) * (np.arange(len(points)) > 0)
        points = [(name, cost, q + e) for (name, cost, q), e in zip(points, noise, strict=True)]
        on = curve_of(runs_of([*points, ("dear=1", 1700, 0.5)], seeds=(0,)), cost="size_bytes")
        drawn = on.losses + generator.normal(0, 0.004, (500, len(on)))
        drawn[:, on.reference] = 0
        assert Marginal().choose(on, drawn).outcome != "chosen"
