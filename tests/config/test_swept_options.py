"""Axes that the network or the data read: what they set, their neutral value, what can't be swept and fixed at once."""

import dataclasses

import pytest

from effbench.config.axis import Axis
from effbench.config.command_line import read_command_line
from effbench.config.points import plan_of
from effbench.config.read import read_sweep


def plan(*arguments):
    return read_sweep(list(arguments)).plan


def by_label(planned):
    return {point.label: point for point in planned.points}


class TestAxesOfTheNetwork:
    def test_values_on_both_sides_of_the_neutral_one_have_one_reference(self):
        planned = plan("alpha=0.5,1,2")
        points = by_label(planned)
        assert [point.label for point in planned.points] == ["reference", "alpha=0.5", "alpha=2"]
        widths = {label: point.chain.network.options.get("alpha", 1) for label, point in points.items()}
        assert widths == {"reference": 1, "alpha=0.5": 0.5, "alpha=2": 2}
        for point in planned.points:
            assert planned.reference_of(point) is points["reference"]
            assert point.reference_bytes == points["reference"].reference_bytes

    @pytest.mark.extended
    def test_the_neutral_value_is_not_in_the_key(self):
        plain = plan().points[0]
        assert plan("alpha=0.5,1").points[0].key == plain.key
        assert plan("alpha=0.5", "model.alpha=1").points[0].key == plain.key

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["model.alpha=0.5", "alpha=0.25,1"],
                r"^model\.alpha=0\.5: is what alpha=0\.25,1 sweeps; give one of the two$",
            ),
            (["model.octave=0.5", "octave=0.25"], r"^model\.octave=0\.5: is what octave=0\.25 sweeps; give one"),
        ],
    )
    def test_what_an_axis_sweeps_can_not_be_fixed_to_another_value_as_well(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            plan(*arguments)

    def test_where_the_networks_own_option_is_neutral_the_reference_has_it(self):
        reference, early = plan("model.pooling=late", "pooling=early,late").points
        assert reference.is_reference
        assert [point.chain.network.options["pooling"] for point in (reference, early)] == ["late", "early"]

    def test_a_fixed_option_without_the_axis_is_an_option(self):
        (point,) = plan("model.alpha=0.5").points
        assert point.is_reference
        assert point.chain.network.options["alpha"] == 0.5

    def test_an_axis_that_the_network_does_not_read_is_refused_with_those_it_does(self):
        with pytest.raises(
            ValueError, match=r"^alpha=0\.5: the network effbench\.models\.lenet_5 does not read alpha; it"
        ):
            plan("model=lenet_5", "alpha=0.5")


def plan_with(axis, *values, arguments=()):
    """Return the points of a sweep over an axis that conf/axis does not have."""
    command = read_command_line(list(arguments))
    return plan_of(
        dataclasses.replace(command, axes={**command.axes, axis.name: axis}, axis_values={axis.name: values})
    )


def data_axis(target, **changes):
    declaration = {"name": "knob", "help": "", "type": "float", "neutral": 1, "reads": "data", "target": target}
    return Axis(**{**declaration, "example": "0.5", **changes})


class TestAxesOfTheData:
    @pytest.mark.extended
    def test_an_axis_of_any_name_may_multiply_the_side_of_training_or_of_evaluation(self):
        trained = by_label(plan_with(data_axis("side"), 0.5, 1, 1.5))
        assert {label: (p.chain.side, p.eval_side) for label, p in trained.items()} == {
            "reference": (28, 28),
            "knob=0.5": (14, 14),
            "knob=1.5": (42, 42),
        }
        evaluated = by_label(plan_with(data_axis("eval_side"), 0.5))["knob=0.5"]
        assert (evaluated.chain.side, evaluated.eval_side) == (28, 14)
        assert evaluated.chain.key == trained["reference"].chain.key

    @pytest.mark.extended
    def test_an_axis_may_set_an_option_of_the_data_set(self):
        axis = data_axis("split_seed", type="int", neutral=0, minimum=0, maximum=9)
        points = by_label(plan_with(axis, 0, 3))
        assert points["knob=3"].chain.data.options["split_seed"] == 3
        assert points["reference"].chain.data.options["split_seed"] == 0
        assert points["knob=3"].chain.fingerprint != points["reference"].chain.fingerprint
        assert points["reference"].key == plan().points[0].key
        with pytest.raises(ValueError, match=r"^data\.split_seed=5: is what knob=3 sweeps; give one of the two$"):
            plan_with(axis, 3, arguments=["data.split_seed=5"])

    def test_an_option_that_the_data_set_does_not_have_is_refused(self):
        with pytest.raises(
            ValueError, match=r"^knob=0\.5: the data set effbench\.data\.digits\.digits does not read knob$"
        ):
            plan_with(data_axis("contrast"), 0.5)
