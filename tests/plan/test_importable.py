"""What another process finds by importing it."""

import functools
import sys
import types

import pytest
import torchvision
from torch import nn

from effbench.plan.importable import at, is_importable


class Outer:
    class Inner:
        def method(self): ...


def function():
    return lambda: None


def _renamed():
    made = types.FunctionType(function.__code__, globals(), "function")
    made.__module__, made.__qualname__ = __name__, "function"
    return made


@pytest.mark.parametrize("target", [nn.Linear, torchvision.models.resnet18, functools.lru_cache, print, dict])
def test_what_packages_have_is(target):
    assert is_importable(target)


def test_what_no_module_has_under_its_name_is_not():
    module = types.ModuleType("made_here")
    exec("class Net: pass", module.__dict__)
    sys.modules["made_here"] = module
    try:
        for target in (lambda: None, function(), _renamed(), functools.partial(print), module.Net, 3, "print"):
            assert not is_importable(target)
    finally:
        del sys.modules["made_here"]


def test_at_finds_what_stands_within_a_class():
    assert at("torch.nn", "Module.forward") is nn.Module.forward
    assert at("torch.nn", "Module.nothing") is None
    assert at("no.such.module", "x") is None
