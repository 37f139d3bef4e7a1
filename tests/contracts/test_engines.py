"""What every engine in conf/engine must do."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.config.read import read_sweep
from effbench.measure.engine import Engine, find_engine
from effbench.models import small_cnn

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "engine").glob("*.yaml"))


@pytest.fixture(params=CONFIGS, ids=lambda config: config.stem)
def config(request):
    return request.param


@pytest.fixture
def engine(config):
    """Return the engine with the options that conf/engine gives it."""
    return read_sweep(["device=cpu", f"engine={config.stem}"]).engines[config.stem].build()


@pytest.fixture
def constrained():
    """A trained-looking network in training mode: batch norm and dropout act, one weight is masked and quantised."""
    torch.manual_seed(0)
    model = nn.Sequential(small_cnn(num_classes=8), nn.Dropout(0.5), nn.Linear(8, 4))
    model(torch.randn(16, 1, 28, 28))
    parametrize.register_parametrization(model[2], "weight", Mask(torch.rand(4, 8) > 0.5))
    parametrize.register_parametrization(model[2], "weight", UniformQuantizer(4))
    return model.train()


IMAGES = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_it_is_an_engine_with_the_name_of_its_files(config, engine):
    assert isinstance(engine, Engine)
    assert engine.name == config.stem
    assert type(find_engine(config.stem)) is type(engine)


def test_outputs_are_those_of_eval_mode(engine, constrained):
    run = engine.prepare(constrained, IMAGES, threads=1)
    outputs = [run() for _ in range(2)]
    engine.synchronise()
    with torch.no_grad():
        expected = constrained.eval()(IMAGES)
    for output in outputs:
        torch.testing.assert_close(torch.as_tensor(output).cpu(), expected, rtol=1e-4, atol=1e-5)


def test_the_model_is_left_alone_and_later_changes_do_not_matter(engine, constrained):
    before = {name: tensor.clone() for name, tensor in constrained.state_dict().items()}
    run = engine.prepare(constrained, IMAGES, threads=1)
    first = torch.as_tensor(run()).clone()
    assert all(module.training for module in constrained.modules())
    assert parametrize.is_parametrized(constrained[2], "weight")
    assert all(torch.equal(tensor, before[name]) for name, tensor in constrained.state_dict().items())
    with torch.no_grad():
        for parameter in constrained.parameters():
            parameter.zero_()
    assert torch.equal(torch.as_tensor(run()), first)


def test_inputs_of_several_sizes_can_be_prepared_side_by_side(engine, constrained):
    runs = [engine.prepare(constrained, IMAGES[:n], threads=1) for n in (1, 3)]
    assert [tuple(torch.as_tensor(run()).shape) for run in (*runs, *runs)] == [(1, 4), (3, 4)] * 2
