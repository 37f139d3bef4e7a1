"""AOTInductor: what it is asked to compile, and what it can't follow; tests/contracts has it compile for real."""

import zipfile

import pytest
import torch
from torch import nn

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import constraints_on, register
from effbench.measure.engine import evaluates_as_runs_do
from effbench.measure.engines.aot import AotEngine


def test_refuses_an_option_of_another_type():
    with pytest.raises(ValueError, match="freezing"):
        AotEngine(freezing="yes")


def test_the_quality_of_runs_is_not_its_own():
    assert not evaluates_as_runs_do(AotEngine())


@pytest.fixture
def compiled(monkeypatch):
    """Have nothing compiled; return what was to be."""
    import torch._inductor

    asked = []

    def compile_and_package(program, *, package_path, inductor_configs):
        asked.append((program, inductor_configs))
        with zipfile.ZipFile(package_path, "w") as package:
            for name in ("model.so", "model.wrapper.cpp"):
                package.writestr(f"data/{name}", name)

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compile_and_package)
    return asked


@pytest.mark.parametrize("freezing", [True, False])
def test_constraints_are_baked_and_the_option_is_handed_on(compiled, tmp_path, freezing):
    layer = nn.Linear(3, 2).train()
    register(layer, "weight", Mask(torch.zeros(2, 3)))
    exported = AotEngine(freezing=freezing).export(layer, torch.ones(1, 3), tmp_path)
    assert exported.path.parent == tmp_path and exported.path.suffix == ".pt2"
    with zipfile.ZipFile(exported.path) as package:  # without its sources
        assert {name: package.read(name) for name in package.namelist()} == {"data/model.so": b"model.so"}
    assert exported.int8_weights == 0 and not exported.notes
    ((program, configs),) = compiled
    assert configs == {"freezing": freezing}
    assert not program.state_dict["weight"].any() and not program.state_dict["weight"].requires_grad
    assert layer.training and constraints_on(layer, "weight") and layer.bias.requires_grad


class Branching(nn.Module):
    def forward(self, values):
        return values if values.sum() > 0 else -values


def test_what_can_not_be_exported_is_an_error_in_a_line(tmp_path):
    with pytest.raises(ValueError, match=r"^AOTInductor can't compile it: [^\n]+$"):
        AotEngine().export(Branching(), torch.ones(1, 3), tmp_path)
    assert not list(tmp_path.iterdir())
