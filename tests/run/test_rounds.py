"""Rounds that end when accuracy breaks, or when nothing changes any more."""

import math

import pytest
import torch
from torch import nn

from effbench.compression.constraints.stack import bake
from effbench.plan.chain import Rounds, Step, Until
from effbench.run.rounds import change, run_rounds
from effbench.stages.prune import Prune
from effbench.stages.train import Train

STEP = Step("x", Train(epochs=1, lr=0.1))


class Series:
    """Networks of one weight, which says their number; each round makes the next one, of the next accuracy."""

    def __init__(self, *accuracies, weights=None):
        self.accuracies = accuracies
        self.weights = weights or [float(n + 1) for n in range(len(accuracies))]
        self.models = []
        for weight in self.weights:
            model = nn.Linear(1, 1, bias=False)
            nn.init.constant_(model.weight, weight)
            self.models.append(model)
        self.n_run = 0

    def outcome(self, *, keeps_best=False, **until):
        rounds = Rounds(((STEP,),) * (len(self.models) - 1), Until(**until), keeps_best=keeps_best)
        return run_rounds(rounds, self.models[0], evaluate=self._evaluate, take=self._take)

    def run(self, **until):
        """Return the number of the network that comes back."""
        outcome = self.outcome(**until)
        assert self.models[outcome.n_done] is outcome.model
        return self.models.index(outcome.model)

    def _evaluate(self, model):
        return self.accuracies[self.models.index(model)]

    def _take(self, model, number):
        assert model is self.models[number]
        self.n_run += 1
        return self.models[number + 1]


@pytest.mark.parametrize(
    ("until", "expected", "n_run"),
    [
        ({"max_loss": 0.02}, 2, 3),  # 0.95 is just good enough after 0.97
        ({"max_loss": 0.01}, 1, 2),
        ({"max_loss": 0.1}, 4, 4),
        ({"max_loss": 0}, 0, 1),
        ({"min_accuracy": 0.96}, 1, 2),
        ({"min_accuracy": 0.99}, 0, 1),  # nothing was good: what entered
        ({"min_accuracy": 0.9, "max_loss": 0.01}, 1, 2),  # the stricter of the two
        ({}, 4, 4),
    ],
)
def test_the_last_good_network_comes_back_and_nothing_is_run_after_the_first_bad_one(until, expected, n_run):
    series = Series(0.97, 0.965, 0.95, 0.90, 0.97)
    assert series.run(**until) == expected
    assert series.n_run == n_run


def test_where_lower_is_better_a_score_below_zero_is_compared_alike():
    series = Series(-10.0, -10.005, -10.5)
    assert series.run(max_loss=0.01) == 1


def test_without_a_bound_on_accuracy_nothing_is_evaluated():
    series = Series(1.0, 1.0)
    series._evaluate = None
    assert series.run(min_change=1e-6) == 1


def test_it_ends_when_the_weights_barely_change():
    series = Series(*[1.0] * 5, weights=[1.0, 2.0, 2.1, 2.1001, 5.0])
    assert series.run(min_change=0.01) == 3
    assert series.n_run == 3


def test_a_round_that_is_bad_is_not_taken_for_changing_little():
    series = Series(0.9, 0.1, weights=[1.0, 1.00001])
    assert series.run(min_change=0.01, max_loss=0.1) == 0


@pytest.mark.parametrize(
    ("until", "stopped_by"),
    [({"max_loss": 0.01}, "floor"), ({"min_accuracy": 0.96}, "floor"), ({"max_loss": 0.1}, "none"), ({}, "none")],
)
def test_it_is_told_why_no_more_rounds_were_taken(until, stopped_by):
    assert Series(0.97, 0.965, 0.95, 0.90, 0.97).outcome(**until).stopped_by == stopped_by


def test_weights_that_settled_are_told_from_a_floor():
    series = Series(0.9, 0.9, 0.9, weights=[1.0, 1.001, 2.0])
    assert series.outcome(min_change=0.01, max_loss=0.5).stopped_by == "change"


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [
        ((0.5, 0.6, 0.7), 2),
        ((0.7, 0.6, 0.5), 0),  # what entered
        ((0.5, 0.7, 0.6), 1),
        ((0.5, 0.7, 0.7), 1),  # of equals the first
    ],
)
def test_of_all_rounds_the_best_network_can_be_kept(accuracies, best):
    series = Series(*accuracies)
    outcome = series.outcome(keeps_best=True)
    assert (outcome.n_done, outcome.stopped_by) == (best, "best")
    assert outcome.model is series.models[best]
    assert series.n_run == 2


class TestChange:
    def test_is_that_of_the_weights_in_use(self, toy_data, toy_network, make_context):
        network = toy_network()
        assert change(network, toy_network()) == 0
        pruned = Prune(ratio=0.5).apply(network, make_context(toy_data))
        before = torch.cat([p.detach().flatten() for p in network.parameters()])
        after = torch.cat(
            [bake(pruned).get_parameter(name).detach().flatten() for name, _ in network.named_parameters()]
        )
        expected = float((after - before).norm() / before.norm())
        assert change(network, pruned) == pytest.approx(expected, rel=1e-5)

    def test_of_another_form_is_infinite(self, toy_network):
        assert change(toy_network(), toy_network()[:1]) == math.inf

    def test_from_nothing_but_zeros(self):
        zero, one = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.zeros_(zero.weight)
        nn.init.ones_(one.weight)
        assert change(zero, zero) == 0
        assert change(zero, one) == math.inf
        assert change(one, zero) == 1
