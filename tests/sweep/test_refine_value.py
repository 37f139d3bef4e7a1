"""The next value by each definition, on curves whose point is known; what it is when runs have no numbers."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from effbench.config.read import read_sweep
from effbench.plan.sweep import SaturationSettings
from effbench.sweep.refine import refine

N_EXAMPLES = 10_000


def lost_beyond(strength):
    """Return what is lost at a share of pruned weights: nothing up to 0.6, then steeply."""
    return max(0.0, strength - 0.6) ** 2


def lost_by_doublings(strength):
    """Return what is lost where the n-th halving of the bytes costs n / 2 points: 1 point a halving at two of them."""
    halvings = math.log2(1000 / bytes_at(strength))
    return 0.0025 * halvings**2


def bytes_at(strength):
    return 1000 * (1.001 - strength)


class Curve:
    """Computes points of an axis `prune` by what is lost there, with their counts; seeds differ by `noise`."""

    def __init__(self, result_of, lost, *, noise=0.0, diverging=()):
        self.result_of, self.lost, self.noise, self.diverging = result_of, lost, noise, diverging
        self.metrics, self.counts = {}, {}

    def __call__(self, sweep, points):
        for point in points:
            share = point.axes.get("prune", 0)
            loss = self.lost(share) + self.noise * (point.seed - 1) * (share > 0)
            n_correct = round(N_EXAMPLES * (0.9 - loss))
            correct = np.arange(N_EXAMPLES) < n_correct
            accuracy = math.nan if (share, point.seed) in self.diverging else n_correct / N_EXAMPLES
            own = {"accuracy_val": accuracy, "accuracy": accuracy, "size_bytes": bytes_at(share)}
            self.metrics[point.key] = {**self.result_of(point).metrics, **own}
            self.counts[point.key] = np.stack([correct, np.ones_like(correct)], axis=1)[:, None].astype(np.int64)
        return True

    def refined(self, sweep):
        self(sweep, sweep.plan.points)
        return refine(sweep, self.metrics, self.counts, self)


@cache
def planned(prune, seeds):
    tiny = ("model.channels=[4,4]", "data.side=8", "train.epochs=0", "finetune.epochs=0")
    return read_sweep([*tiny, f"+prune={prune}", f"+seed={seeds}", "sweep.refine=1"])


@pytest.fixture
def refined(result_of):
    """Return what refines a sweep whose points lose so much, by a definition, by up to so many values."""

    def run(lost, method, most, *, prune="0.1,0.9", seeds="0", noise=0.0, diverging=(), price=50):
        sweep = planned(prune, seeds)
        settings = SaturationSettings(method=method, price=price)
        sweep = replace(sweep, saturation=settings, refinement=replace(sweep.refinement, most=most))
        return Curve(result_of, lost, noise=noise, diverging=diverging).refined(sweep)

    return run


def values(refined):
    return list(dict.fromkeys(point.axes["prune"] for point in refined.sweep.plan.points if point.is_refined))


# By marginal: 1 point a halving at 0.751; by price: 2 · loss' = bytes', 0.6 + 1000 / (2 · 100 · 50) = 0.7.
BY = {
    "tolerance": (lost_beyond, 0.6 + math.sqrt(0.02)),
    "tolerance_bound": (lost_beyond, 0.6 + math.sqrt(0.02)),
    "marginal": (lost_by_doublings, 0.751),
    "price": (lost_beyond, 0.7),
    "kneedle": (lost_beyond, 0.7),
}


@pytest.mark.parametrize(("method", "seeds"), [*zip(BY, ["0", "0,1,2", "0", "0,1,2", "0"], strict=True)])
def test_values_come_to_the_point_of_each_definition(refined, method, seeds):
    lost, there = BY[method]
    done = refined(lost, method, 8, seeds=seeds)
    tried = [0.0, 0.1, 0.9, *values(done)]
    assert len(tried) == 11 and done.notes[0].startswith(f"refined by {method}: prune: ")
    assert min(abs(value - there) for value in tried) < 0.03
    near = [value for value in tried if abs(value - there) < 0.15]
    assert len(near) >= 4, "it looks where the point is"
    # The same results, the same values: what was stopped goes on.
    assert values(refined(lost, method, 4, seeds=seeds)) == values(done)[:4]


def test_a_bound_goes_where_it_is_sure_which_is_not_as_far(refined):
    plain, sure = (
        values(refined(lost_beyond, method, 6, seeds="0,1,2", noise=0.004))
        for method in ("tolerance", "tolerance_bound")
    )
    assert plain[-1] > sure[-1]


@pytest.mark.parametrize("method", ["marginal", "price", "kneedle"])
def test_where_nothing_is_lost_it_goes_beyond_and_where_all_is_before(refined, method):
    assert values(refined(lambda share: 0.0, method, 2, prune="0.5,0.9")) == [0.95, 0.975]
    if method != "kneedle":
        assert values(refined(lambda share: 0.5 * (share > 0), method, 2, prune="0.5,0.9")) == [0.25, 0.125]


def test_a_price_of_a_cost_that_does_not_vary_is_said(refined):
    assert refined(lost_beyond, "price", 2, price={"params": 3.0}).notes == (
        "refined by price: prune: nothing (price: there is none of size_bytes, macs_effective; given: params)",
    )


@pytest.mark.parametrize("method", BY)
def test_a_value_that_diverged_bounds_the_search_and_one_seed_that_did_does_not_hide_the_others(refined, method):
    every = [(0.9, 0), (0.9, 1)]
    done = refined(lambda share: 0.0, method, 3, seeds="0,1", diverging=every)
    assert all(value < 0.9 for value in values(done))
    assert values(refined(lambda share: 0.0, method, 1, seeds="0,1", diverging=every[:1])) == [0.95]


def test_a_bound_without_the_counts_of_a_run_says_so(result_of):
    curve, sweep = Curve(result_of, lost_beyond), planned("0.1,0.9", "0")
    curve(sweep, sweep.plan.points)
    sweep = replace(sweep, saturation=SaturationSettings(method="tolerance_bound"))
    (note,) = refine(sweep, curve.metrics, {}, curve).notes
    assert note.endswith("prune: nothing (method 'tolerance_bound' needs the counts of the examples)")
