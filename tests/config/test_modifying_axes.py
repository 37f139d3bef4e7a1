"""Two axes of one stage: one brings it in, the other only sets a field of it."""

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.points import plan_of
from effbench.plan.chain import Until


def plan(*arguments):
    return plan_of(read_command_line(arguments))


def stages(point, name):
    return [step.stage for step in point.chain.plain_steps if step.name == name]


def test_both_set_fields_of_one_stage():
    points = plan("+prune_granularity=kernel,row", "+prune=0.5,0.8").points
    found = {(p.axes["prune"], p.axes["prune_granularity"]): stages(p, "prune") for p in points if not p.is_reference}
    assert found.keys() == {(ratio, g) for ratio in (0.5, 0.8) for g in ("kernel", "row")}
    for (ratio, granularity), (stage,) in found.items():
        assert (stage.ratio, stage.granularity) == (ratio, granularity)


def test_without_its_leading_axis_there_is_no_stage_and_the_point_is_the_reference():
    points = plan("+prune=0,0.5", "+prune_granularity=weight,row").points
    assert [(p.axes["prune"], p.axes["prune_granularity"]) for p in points] == [
        (0, "weight"),
        (0.5, "weight"),
        (0.5, "row"),
    ]
    assert stages(points[0], "prune") == []
    alone = plan("+prune=0.5").points[1]
    assert points[1].key == alone.key  # a neutral value is in no key


def test_a_modifying_axis_alone_is_refused():
    with pytest.raises(
        ValueError, match=r"^prune_granularity=row: changes what prune does, so give that too, as in prune="
    ):
        plan("+prune_granularity=row")


def test_the_end_of_rounds_is_read_and_told_in_the_key():
    loose, strict = (
        plan("+prune=0.9", "recipe=until_accuracy", f"recipe.until.max_loss={x}").points[1] for x in (0.02, 0.01)
    )
    assert loose.chain.steps[1].until == Until(max_loss=0.02)
    assert len(loose.chain.steps[1].rounds) == 10
    assert loose.key != strict.key and loose.chain.prefix_keys[1] == strict.chain.prefix_keys[1]
    assert [s.ratio for s in stages(loose, "prune")][-1] == pytest.approx(0.9)
    with pytest.raises(ValueError, match=r"^recipe\.until\.max_loss=2\.0: must be in \[0, 1\)"):
        plan("+prune=0.9", "recipe=until_accuracy", "recipe.until.max_loss=2")


def test_a_recipe_that_asks_for_a_step_it_lacks_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="rewind: asks for the network at 'early', which is no step before it"):
        plan("+prune=0.9", "recipe=lottery_ticket", "stage.rewind.to=early")
    steps = [str(step) for step in plan("+prune=0.9", "recipe=lottery_ticket", "recipe.rounds=2").points[1].chain.steps]
    assert steps == ["train", "prune", "rewind", "train/1", "prune/1", "rewind/1", "train/2"]
