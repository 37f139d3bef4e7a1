"""What a network declares to be the smallest images that it takes."""

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.fresh_network import fresh_network
from effbench.config.least_side import least_side
from effbench.config.read import read_sweep


@pytest.mark.parametrize(
    ("model", "least"),
    [
        ({}, 1),
        ({"least_side": 75}, 75),
        ({"least_side": {"inception_v3": 75}, "name": "inception_v3"}, 75),
        ({"least_side": {"inception_v3": 75}, "name": "resnet18"}, 1),
        ({"least_side": {"inception_v3": 75}}, 1),
    ],
)
def test_a_number_or_numbers_by_name(model, least):
    assert least_side(model) == least


@pytest.mark.parametrize("declared", [0, -1, 7.5, True, "75", None, [75], {"resnet18": 0}])
def test_what_is_no_side_is_refused(declared):
    with pytest.raises(ValueError, match=r"^model\.least_side=\S+: must be a whole number of pixels, at least 1$"):
        least_side({"name": "resnet18", "least_side": declared})


@pytest.mark.extended
def test_networks_of_one_sweep_may_run_at_different_sides():
    plan = read_sweep(["model=alexnet,squeezenet1_1", "data.side=32", "train.epochs=0"]).plan
    assert [(point.network_name, point.chain.side) for point in plan.points] == [("alexnet", 63), ("squeezenet1_1", 32)]


@pytest.mark.extended
def test_a_profile_of_such_a_network_is_at_that_side():
    command = read_command_line(["model=alexnet", "data=digits"])
    assert fresh_network(command, follows_data=True).input_size == (1, 63, 63)
    assert fresh_network(command, follows_data=True, side=70).input_size == (1, 70, 70)


@pytest.mark.extended
@pytest.mark.parametrize("value", ["rho=0.5", "rho_eval=0.75"])
def test_a_multiplier_that_leads_below_it_is_refused(value):
    name, _, multiplier = value.partition("=")
    side = int(float(multiplier) * 80 + 0.5)
    with pytest.raises(ValueError, match=rf"^{value}: images of {side} x {side} are smaller than .*side: 63\); use"):
        read_sweep(["model=alexnet", "data.side=80", "train.epochs=0", value])
    assert read_sweep(["model=alexnet", "data.side=48", "train.epochs=0", f"{name}=1.5"]).plan.points[1].eval_side == 72
