"""A plan: each run once, references first, the same id for the same runs."""

from dataclasses import replace

import pytest

from effbench.config.read import read_sweep
from effbench.plan.point import Plan
from effbench.plan.sources import build_network, load_data


@pytest.fixture(scope="module")
def points():
    return read_sweep(["prune=0.5,0.9", "seed=0,1"]).plan.points


def test_references_come_first_and_equal_runs_once(points):
    shuffled = Plan.of([*reversed(points), *points])
    assert len(shuffled.points) == len(points)
    assert [point.is_reference for point in shuffled.points] == [True] * 2 + [False] * 4


def test_the_id_does_not_depend_on_the_order(points):
    assert Plan.of(points).sweep_id == Plan.of(reversed(points)).sweep_id
    assert Plan.of(points).sweep_id != Plan.of(points[:-1]).sweep_id
    assert len(Plan.of(points).sweep_id) == 12


def test_label_axes_and_config_decide_no_key(points):
    point = points[-1]
    assert replace(point, label="x", axes={}, swept={}, config={}).key == point.key
    assert replace(point, eval_side=14).key != point.key
    assert replace(point, eval_side=14).prefix_keys == point.chain.prefix_keys
    assert replace(point, seed=7).prefix_keys[0] != point.chain.prefix_keys[0]


def test_a_seed_has_its_own_initial_weights_and_always_the_same(points):
    first, other = (next(point for point in points if point.seed == seed) for seed in (0, 1))
    weights = [p.detach().clone() for p in first.fresh_network().parameters()]
    assert all((a == b).all() for a, b in zip(weights, first.fresh_network().parameters(), strict=True))
    assert not all((a == b).all() for a, b in zip(weights, other.fresh_network().parameters(), strict=True))


def test_data_are_loaded_once_and_their_names_are_logged(points):
    assert load_data(points[0].data) is load_data(points[-1].data)
    assert points[0].data_name == "digits"
    assert points[0].network_name == "small_cnn"
    assert points[0].input_size == (1, 28, 28)


def test_what_is_no_network_is_refused(points):
    from effbench.plan.blueprint import Blueprint

    with pytest.raises(ValueError, match=r"gives a str, not a torch\.nn\.Module"):
        build_network(Blueprint("os.getcwd"), load_data(points[0].data), 28)
