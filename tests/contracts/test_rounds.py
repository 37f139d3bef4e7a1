"""What every stage of an axis owes in rounds: laid out three times with its training, and applied over what it made."""

import pytest
import torch

from effbench.codec import decode, encode
from effbench.compression.constraints.stack import bake
from effbench.config.members import declared_axes
from effbench.config.overrides import parse, values_of
from effbench.config.read import read_sweep
from effbench.run.making import make_model
from effbench.run.store import Store

AXES = {name: axis for name, axis in declared_axes().items() if "stage" in axis.readers}
TINY = [
    *("model.channels=[4,4,4,4]", "data.side=8", "train.fraction=0.05", "device=cpu", "train.precision=float32"),
    *("train.epochs=1", "finetune.epochs=1", "model.n_poolings=1"),
]
VIT = ["model=small_vit", "model.channels=", "model.n_poolings=", "model.patch=2", "model.width=8", "model.heads=2"]
OTHERWISE = {
    # A stage after which something trains, and whose file needs more weights than biases.
    "rate": ["stage.rate.small=0", "model.channels=[16,16,16,16]"],
    "prune_heads": VIT,
    "tokens": VIT,
    # A network that does not read it itself.
    "conv": ["model=lenet_5", "model.channels=", "model.n_poolings=", "data.side=28"],
}
"""Of some axes: keys beside those of TINY, or instead of them; an empty one is left out."""


def value_of(axis):
    return axis.check(next(values_of(parse([f"{axis.name}={axis.example}"])[0])))


def arguments_of(axis):
    """Return the axis at an example, with the one that it modifies."""
    wanted = [axis, *([AXES[axis.modifies]] if axis.modifies else [])]
    return [f"{one.name}={value_of(one)}" for one in wanted]


@pytest.fixture(params=sorted(AXES))
def axis(request):
    return AXES[request.param]


@pytest.fixture
def point(axis):
    """Return the point of an axis whose technique stands in a group of three rounds, whatever its phase."""
    group = "[train,finetune]" if axis.replaces else f"[{axis.phase},finetune]"
    steps = f"recipe.steps=[{group}]" if axis.replaces else f"recipe.steps=[train,{group}]"
    otherwise = OTHERWISE.get(axis.name, [])
    keys = {argument.partition("=")[0] for argument in otherwise}
    tiny = [argument for argument in TINY if argument.partition("=")[0] not in keys]
    otherwise = [argument for argument in otherwise if not argument.endswith("=")]
    return read_sweep([*tiny, *otherwise, *arguments_of(axis), steps, "recipe.rounds=3"]).plan.points[-1]


def test_it_stands_in_every_round(axis, point):
    name, field = axis.target.split(".")
    stages = [step.stage for step in point.chain.steps if step.name == name]
    assert [str(step) for step in point.chain.steps if step.name == name] == [name, f"{name}/1", f"{name}/2"]
    assert len(set(point.chain.prefix_keys)) == len(point.chain.steps) + 1
    # What the rounds together come to is what the axis says: the last one reaches it, or the first one has.
    values = [getattr(stage, field) for stage in stages]
    if name == "prune_blocks":
        assert sum(values) == value_of(axis)
    elif name == "prune_channels":
        left = (1 - values[0]) * (1 - values[1]) * (1 - values[2])
        assert 1 - left == pytest.approx(value_of(axis))
    else:
        assert pytest.approx(value_of(axis)) in (values[0], values[-1])


@pytest.mark.matrix(fast=2)
def test_it_can_be_applied_over_what_it_made(axis, point, tmp_path):
    made = make_model(point.chain, Store(tmp_path), device=torch.device("cpu"))
    network = made.model
    data = point.chain.loaded_data()
    with torch.no_grad():
        outputs = network(next(data.batches("val", side=point.chain.side, batch_size=5))[0])
    assert outputs.shape == (5, 10)
    assert outputs.isfinite().all()
    restored = decode(encode(network), point.chain.fresh_network())
    expected = bake(network).state_dict()
    assert restored.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in restored.state_dict().items())
