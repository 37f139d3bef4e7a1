"""What every engine in conf/engine must do.

Compilers take seconds for each network: what an engine made of two is shared by the tests of the module.
"""

import copy
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import register
from effbench.config.read import read_sweep
from effbench.measure.engine import Engine, Prepared, find_engine
from effbench.measure.engine_files import FileEngine

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "engine").glob("*.yaml"))
COMPILERS = ("g++", "c++", "clang++")
NEED_COMPILER = ("aot", "compile")
IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def build(config):
    """Return the engine with the options that conf/engine gives it; skip where it can't be here, and say why."""
    if config.stem in NEED_COMPILER and not any(map(shutil.which, COMPILERS)):
        pytest.skip(f"engine={config.stem} needs a C++ compiler: {', '.join(COMPILERS)}")
    try:
        return read_sweep(["device=cpu", f"engine={config.stem}"]).engines[config.stem].build()
    except ValueError as error:
        if "is not installed" not in str(error):
            raise
        pytest.skip(str(error))


def make_network(width):
    """A trained-looking network in training mode: batch norm and dropout act, one weight is masked and quantised."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(9 * width, 64), nn.Linear(64, 4),
    )  # fmt: skip
    network(torch.randn(16, 1, 8, 8))
    register(network[-1], "weight", Mask(torch.rand(4, 64) > 0.5))
    register(network[-1], "weight", UniformQuantizer(4))
    return network.train()


def outputs_in_eval_mode(network, images):
    with torch.no_grad():
        return copy.deepcopy(network).eval()(images)


def state_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def first_output(answer):
    """Return the first output of a call: engines wrap it in a list, or in a mapping of their own."""
    return answer.cpu() if isinstance(answer, torch.Tensor) else torch.as_tensor(answer[0])


@dataclass
class Made:
    """What an engine made of a network, which was then set to zero, and of one of half its channels."""

    engine: object
    network: nn.Module
    """As it was left by the engine."""
    before: dict
    expected: torch.Tensor
    prepared: Prepared
    narrow: Prepared
    """For one image at a time."""
    expected_of_narrow: torch.Tensor


COMPILED = ("aot", "compile", "executorch")
"""Engines that compile for many seconds."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(config, id=config.stem, marks=[pytest.mark.waiting] if config.stem in COMPILED else [])
        for config in CONFIGS
    ],
)
def config(request):
    return request.param


@pytest.fixture(scope="module")
def made(config):
    engine, network, narrow = build(config), make_network(16), make_network(8)
    before, expected = state_of(network), outputs_in_eval_mode(network, IMAGES)
    prepared = engine.prepare(network, IMAGES, threads=1)
    left = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    expected_of_narrow = outputs_in_eval_mode(narrow, IMAGES[:1])
    return Made(
        engine, left, before, expected, prepared, engine.prepare(narrow, IMAGES[:1], threads=1), expected_of_narrow
    )


@pytest.mark.matrix(fast=1)
def test_it_is_an_engine_with_the_name_of_its_files(config):
    engine = build(config)
    assert isinstance(engine, Engine)
    assert engine.name == config.stem
    assert type(find_engine(config.stem)) is type(engine)


def assert_same(outputs, expected):
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)


def test_outputs_are_those_of_eval_mode_and_later_changes_of_the_network_do_not_matter(made):
    assert isinstance(made.prepared, Prepared)
    outputs = made.prepared.outputs(IMAGES)
    assert outputs.dtype == torch.float32 and outputs.device.type == "cpu"
    assert_same(outputs, made.expected)
    turned = made.prepared.outputs(IMAGES.flip(0))  # they are of what is given, not of the example
    assert_same(turned, made.expected.flip(0))
    assert_same(outputs, made.expected)  # and stay what they were


def test_a_call_runs_the_example(made):
    made.prepared.outputs(torch.zeros_like(IMAGES))
    answers = [made.prepared(), made.prepared.run()]
    made.engine.synchronise()
    for answer in answers:
        assert_same(first_output(answer), made.expected)


def test_images_laid_out_otherwise_are_taken(made):
    assert_same(made.prepared.outputs(IMAGES.transpose(2, 3).contiguous().transpose(2, 3)), made.expected)


def test_images_of_inference_mode_are_taken(made):
    with torch.inference_mode():
        assert_same(made.prepared.outputs(IMAGES.clone()), made.expected)


def test_the_network_is_left_alone(made):
    assert all(module.training for module in made.network.modules())
    assert parametrize.is_parametrized(made.network[-1], "weight")
    assert all(torch.equal(tensor, made.before[name]) for name, tensor in made.network.state_dict().items())


def test_networks_for_inputs_of_several_sizes_are_there_side_by_side(made):
    for _ in range(2):
        assert_same(made.prepared.outputs(IMAGES), made.expected)
        assert_same(made.narrow.outputs(IMAGES[:1]), made.expected_of_narrow)
        assert_same(first_output(made.narrow()), made.expected_of_narrow)


def test_the_file_is_measured_and_is_smaller_with_fewer_channels(made):
    if not isinstance(made.engine, FileEngine):
        assert made.prepared.n_bytes is None and made.prepared.download_bytes is None
        pytest.skip(f"engine={made.engine.name} runs no file")
    assert 0 < made.prepared.download_bytes < made.prepared.n_bytes * 1.1
    assert made.engine.SUFFIX.startswith(".")
    n_fewer = 4 * 9 * 8 * 64  # floats of the linear layer alone
    assert made.prepared.n_bytes - made.narrow.n_bytes > 0.9 * n_fewer
    assert made.narrow.download_bytes < made.prepared.download_bytes


def test_nothing_is_said_of_a_network_of_floats(made):
    assert made.prepared.int8_weights in (None, 0)
    assert not made.prepared.notes


def test_the_library_that_runs_its_networks_is_there(made):
    if not hasattr(made.engine, "library"):
        pytest.skip(f"engine={made.engine.name} names no library")
    library = made.engine.library()
    if library.python is None:
        assert version(library.distribution)
    compile(library.load, "load", "exec")
