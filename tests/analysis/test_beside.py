"""Beside which points a definition's own lies: the chosen one, the reference, the whole front without a knee."""

import numpy as np
import pytest

from effbench.analysis.beside import runs_beside
from effbench.analysis.definitions.exchange import Marginal, Price
from effbench.analysis.definitions.knee import Kneedle
from tests.analysis.conftest import pruned

COSTS = {0: 800.0, 0.5: 400.0, 0.8: 160.0, 0.9: 80.0}


def frame(losses, **options):
    """Return runs of points at these shares with these losses."""
    return pruned(dict(zip(COSTS, losses, strict=True)), sizes=COSTS, **options)


@pytest.mark.parametrize(
    ("rule", "losses", "keys"),
    [
        (Marginal(rate=1), (0, 0.0, 0.01, 0.1), {"0.8-0"}),
        (Marginal(rate=0.5), (0, 0.0, 0.01, 0.1), {"0.5-0"}),
        (Marginal(rate=1), (0, 0.0, 0.0, 0.0), {"0.9-0"}),
        (Marginal(rate=1), (0, 0.1, 0.2, 0.3), {"0-0"}),
        (Price(price=100), (0, 0.01, 0.02, 0.1), {"0.8-0"}),
        (Price(price=1e6), (0, 0.01, 0.02, 0.1), {"0-0"}),
        (Price(price=1e-6), (0, 0.01, 0.02, 0.1), {"0.9-0"}),
        (Kneedle(), (0, 0.01, 0.02, 0.3), {"0.8-0"}),
        (Kneedle(), (0, 0.4, 0.64, 0.72), {"0-0", "0.5-0", "0.8-0", "0.9-0"}),  # straight: all of the front
        (Kneedle(), (0, 0.1, -0.01, -0.01), {"0.9-0"}),  # the cheapest is as good as any: the front is one point
        (Kneedle(), (0, 0.1, 0.0, 0.1), {"0.8-0"}),  # as good as the reference: the front goes on level to its cost
    ],
)
def test_by_each_definition(rule, losses, keys):
    beside, why = runs_beside(frame(losses), rule, cost="size_bytes")
    assert (beside.keys, why) == (keys, "")
    assert beside.costs == {f"{share}-0": cost for share, cost in COSTS.items()}


@pytest.mark.parametrize("rule", [Marginal(), Price(price=100), Kneedle()])
def test_all_seeds_of_the_point_and_whatever_the_order_of_rows(rule):
    runs = frame((0, 0.01, 0.02, 0.3), seeds=(0, 1, 2))
    beside, _ = runs_beside(runs, rule, cost="size_bytes")
    assert beside.keys == {"0.8-0", "0.8-1", "0.8-2"} and len(beside.costs) == 12
    assert runs_beside(runs.sample(frac=1, random_state=1), rule, cost="size_bytes")[0] == beside


def test_rounds_that_ended_early_are_left_out():
    runs = frame((0, 0.0, 0.0, 0.0)).assign(prune_reached=[0.0, 0.5, 0.8, 0.85])
    beside, _ = runs_beside(runs, Marginal(), cost="size_bytes")
    assert beside.keys == {"0.8-0"} and "0.9-0" not in beside.costs


@pytest.mark.parametrize("rule", [Marginal(), Price(price=100), Kneedle()])
def test_without_an_answer_it_says_why(rule):
    lost = frame((0, 0.0, 0.01, 0.1))
    assert "the reference is not among the runs" in runs_beside(lost[1:], rule, cost="size_bytes")[1]
    chance = dict(
        zip(
            ("name", "kind", "unit", "direction", "chance"),
            ("accuracy", "ratio", "points", "higher", 0.95),
            strict=True,
        )
    )
    dead = lost.assign(**{f"quality_{name}": value for name, value in chance.items()})
    assert runs_beside(dead, rule, cost="size_bytes")[0] is None
    assert "points are needed" in runs_beside(lost[:1], rule, cost="size_bytes")[1]


def test_what_has_no_doubling_is_said():
    costs = np.array([800.0, 400.0, 160.0, 0.0])
    assert "not above 0" in runs_beside(frame((0, 0, 0, 0)).assign(size_bytes=costs), Marginal(), cost="size_bytes")[1]
