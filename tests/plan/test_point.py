"""A plan: each run once, references first, the same id for the same runs."""

from dataclasses import replace

import pytest

from effbench.codec.streams import CODER_VERSIONS
from effbench.plan.blueprint import Blueprint
from effbench.plan.chain import Rounds, Step, Until
from effbench.plan.point import Plan, Point
from effbench.stages.prune import Prune
from effbench.stages.train import Train


@pytest.fixture(scope="module")
def points(make_chain):
    """Two seeds of a reference and of two shares."""
    found = []
    for seed in (0, 1):
        train = Step("train", Train(epochs=1, lr=0.1))
        reference = None
        for ratio in (0, 0.5, 0.9):
            steps = [train, Step("prune", Prune(ratio=ratio))] if ratio else [train]
            point = Point(
                label=f"prune={ratio}" if ratio else "reference",
                axes={"prune": ratio},
                swept={},
                chain=make_chain(steps, seed=seed),
                eval_side=28,
                coder="huffman",
                reference_bytes=1000,
                reference_key=None if reference is None else reference.key,
                config={"seed": seed},
            )
            reference = reference or point
            found.append(point)
    return tuple(found)


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
    assert replace(point, label="x", axes={}, swept={}, config={}, reference_key=None).key == point.key


def test_network_file_and_where_it_is_evaluated_decide_the_key(points, monkeypatch):
    point = points[-1]
    others = [
        replace(point, chain=replace(point.chain, seed=7)),
        replace(point, chain=replace(point.chain, steps=point.chain.steps[:1])),
        replace(point, coder="ans"),
        replace(point, eval_side=14),
        replace(point, reference_bytes=1),
    ]
    keys = [other.key for other in others]
    monkeypatch.setattr("effbench.plan.point.RESULT_VERSION", 99)
    keys.append(replace(point, label="measured otherwise").key)
    monkeypatch.undo()
    monkeypatch.setitem(CODER_VERSIONS, point.coder, 99)
    keys.append(replace(point, label="coded otherwise").key)
    assert replace(point, coder="ans").key in keys
    assert len({point.key, *keys}) == len(keys) + 1


def test_each_point_has_its_reference_and_a_reference_itself(points):
    plan = Plan.of(points)
    for point in plan.points:
        reference = plan.reference_of(point)
        assert reference.is_reference
        assert reference.seed == point.seed
    assert plan.reference_of(points[0]) is points[0]


def test_names_of_axes_and_steps(points):
    plan = Plan.of(points)
    assert plan.axes == ("prune",)
    assert plan.step_names == ("prune", "train")
    in_rounds = Rounds(((Step("share", Train(epochs=1, lr=0.1)),),), Until(max_loss=0.1))
    rounds = replace(points[0], chain=replace(points[0].chain, steps=(in_rounds,)))
    assert Plan.of([rounds]).step_names == ("share",)


def test_says_what_it_is_logged_under(points):
    assert str(points[1]) == "prune=0.5, seed=0"
    assert points[0].data_name == "digits"
    assert points[0].network_name == "lenet_300_100"
    assert points[0].input_size == (1, 28, 28)
    assert replace(points[0], eval_side=14).input_size == (1, 14, 14)
    torchvision = Blueprint("effbench.models.torchvision_model", {"name": "resnet18"})
    assert replace(points[0], chain=replace(points[0].chain, network=torchvision)).network_name == "resnet18"
