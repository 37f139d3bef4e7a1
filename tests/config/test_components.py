"""Networks and data with the options that axes set, straight from a configuration's nodes."""

import pytest

from effbench.config.components import Components
from effbench.config.configured import axes_of
from effbench.config.members import declared_axes
from effbench.data.digits import digits

NODE = {"model": {"_target_": "effbench.models.small_cnn"}, "data": {"_target_": "effbench.data.digits.digits"}}


def components(**asked):
    return Components(axes_of(NODE, declared_axes()), NODE, {name: [value] for name, value in asked.items()})


def test_an_axis_sets_its_option_and_nothing_at_its_neutral_value():
    made = components(alpha=0.5, pooling="late")
    assert made.network({"alpha": 0.5, "pooling": "even"}).options == {"alpha": 0.5}
    assert made.network({"alpha": 1.0, "pooling": "even"}).options == {}
    assert made.data({"alpha": 0.5}).options == {}


def test_sides_are_rounded_half_up_and_evaluation_has_that_of_training_unless_it_has_its_own():
    made, data = components(rho=0.5, rho_eval=2), digits()
    base = data.side
    assert made.sides({"rho": 0.5}, data) == {"side": int(base / 2 + 0.5), "eval_side": int(base / 2 + 0.5)}
    assert made.sides({"rho": 0.5, "rho_eval": 2}, data) == {"side": int(base / 2 + 0.5), "eval_side": 2 * base}
    assert made.sides({"rho_eval": 1.0}, data) == {"side": base, "eval_side": base}
    with pytest.raises(ValueError, match=rf"^rho=0\.001: nothing is left of images of {base} x {base}"):
        components(rho=0.001).sides({"rho": 0.001}, data)


@pytest.mark.parametrize(
    ("model", "sides"),
    [
        ({"least_side": 75}, [75, 80]),
        ({"least_side": {"inception_v3": 75}, "name": "inception_v3"}, [75, 80]),
        ({"least_side": {"inception_v3": 75}, "name": "resnet18"}, [8, 80]),
        ({"least_side": {"inception_v3": 75}}, [8, 80]),
        ({"least_side": 10}, [10, 80]),
    ],
)
def test_a_network_has_no_smaller_images_than_it_takes(model, sides):
    made = Components(declared_axes(), {**NODE, "model": {**NODE["model"], **model}}, {"rho": [10]})
    data = digits(side=8)
    assert [made.sides({"rho": value}, data)["side"] for value in (1, 10)] == sides
    assert made.sides({"rho_eval": 10}, data)["eval_side"] == sides[1]
    assert made.network({}).options.keys() == model.keys() - {"least_side"}


def test_what_is_not_read_is_refused_with_what_is():
    with pytest.raises(ValueError, match=r"^out_rho=0\.5: the network \S+\.small_cnn does not read out_rho"):
        components(out_rho=0.5).network({"out_rho": 0.5})
