"""What blueprints stand for, built: data and tasks once, networks every time anew."""

import pytest
import torch
from torch import nn

from effbench.plan.blueprint import Blueprint
from effbench.plan.sources import build_network, load_data, load_task
from effbench.tasks.classification import Classification

DIGITS = {"side": 14, "split_seed": 0}


def test_equal_blueprints_are_loaded_once_a_process():
    one, other = (Blueprint("effbench.data.digits.digits", dict(DIGITS)) for _ in range(2))
    assert load_data(one) is load_data(other)
    assert load_data(one).side == 14
    assert load_data(one.with_options(split_seed=1)) is not load_data(one)
    task = Blueprint("effbench.tasks.classification.Classification")
    assert isinstance(load_task(task), Classification)
    assert load_task(task) is load_task(Blueprint(task.target))


def test_a_network_is_built_anew_for_its_task_its_data_and_the_side():
    data, task = load_data(Blueprint("effbench.data.digits.digits", DIGITS)), Classification()
    blueprint = Blueprint("effbench.models.lenet_300_100")
    torch.manual_seed(0)
    one = build_network(blueprint, task, data, 10)
    torch.manual_seed(0)
    again = build_network(blueprint, task, data, 10)
    other = build_network(blueprint, task, data, 10)
    layers = [module for module in one.modules() if isinstance(module, nn.Linear)]
    assert (layers[0].in_features, layers[-1].out_features) == (100, 10)
    assert one is not again
    weights = [next(network.parameters()) for network in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_is_no_network_is_refused():
    data = load_data(Blueprint("effbench.data.digits.digits", DIGITS))
    with pytest.raises(ValueError, match=r"model\._target_=os\.getcwd: gives a str, not a torch\.nn\.Module"):
        build_network(Blueprint("os.getcwd"), Classification(), data, 28)
