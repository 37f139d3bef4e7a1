"""A copy of a network that has nothing in common with it: no tensor, no module, whatever holds them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.compression.constraints.layer_inputs import InputConstraint, set_input


def duplicate(model: nn.Module, memo: dict[int, Any] | None = None, /) -> nn.Module:
    """Return a deep copy of a network, which is left alone.

    Unlike `copy.deepcopy` it takes tensors that a forward pass has left with their graph (copied without it), and
    functions that hold modules or tensors of the network, as a hook may or a `forward` that was put in the place of a
    class's: those of the copy hold the copy's. memo: what stands in the copy for objects of the network, by their ids.
    ValueError, in one line, for what can't be copied.
    """
    memo = {} if memo is None else memo
    held = list(_reach([model]))
    memo |= {id(value): value.detach().clone() for value in held if _has_graph(value) and id(value) not in memo}
    own = {id(value) for value in (*model.modules(), *model.parameters(), *model.buffers())}
    functions = [value for value in held if isinstance(value, FunctionType) and _holds(value.__closure__ or (), own)]
    doubles = [_without_contents(function) for function in functions]
    memo |= {id(function): double for function, double in zip(functions, doubles, strict=True)}
    try:
        copied = copy.deepcopy(model, memo)
        for function, double in zip(functions, doubles, strict=True):
            for old, new in zip(function.__closure__ or (), double.__closure__ or (), strict=True):
                for value in _contents(old):
                    new.cell_contents = copy.deepcopy(value, memo) if _holds([value], own) else value
        for module in model.modules():
            _keep_inputs(module, memo.get(id(module)))
    except Exception as error:
        raise ValueError(f"{type(model).__name__} can't be copied ({kind_and_line(error)})") from error
    return copied


def _keep_inputs(module: nn.Module, copied: Any) -> None:
    """Impose on a copy what it has lost: networks traced by torch.fx have a way of copying that leaves hooks."""
    imposed = [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, InputConstraint)]
    for constraint in imposed if isinstance(copied, nn.Module) else ():
        if constraint not in copied._forward_pre_hooks.values():
            set_input(copied, constraint)


def holds_graph(model: nn.Module, /) -> bool:
    """Whether a network holds tensors that a forward pass has left with their graph: torch makes no copy of these."""
    return any(_has_graph(value) for value in _reach([model]))


def _has_graph(value: object) -> bool:
    return isinstance(value, Tensor) and not value.is_leaf


def _holds(values: Iterable[Any], own: set[int]) -> bool:
    return any(id(value) in own for value in _reach(values))


def _contents(cell: CellType) -> Iterator[Any]:
    """Yield what a cell holds; nothing of an empty one."""
    try:
        yield cell.cell_contents
    except ValueError:
        return


def _without_contents(function: FunctionType) -> FunctionType:
    """Return the same function with cells of its own, which are empty."""
    cells = tuple(CellType() for _ in function.__closure__ or ())
    double = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    double.__kwdefaults__, double.__qualname__ = function.__kwdefaults__, function.__qualname__
    double.__dict__.update(function.__dict__)
    return double


def _reach(values: Iterable[Any]) -> Iterator[Any]:
    """Yield values and what these hold, each once: modules, containers, functions and methods are looked into."""
    waiting, seen = list(values), dict[int, Any]()
    while waiting:
        value = waiting.pop()
        if id(value) not in seen:
            seen[id(value)] = value
            yield value
            waiting += _parts(value)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, torch.jit.ScriptModule):
        return ()
    if isinstance(value, nn.Module):
        # What `torch.compile` has put there refers to the module, and goes when that is copied.
        is_compiled = "_orig_mod" in value._modules
        names = ("_modules",) if is_compiled else [name for name in vars(value) if name != "_compiled_call_impl"]
        return [vars(value)[name] for name in names]
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, FunctionType):
        return value.__closure__ or ()
    if isinstance(value, CellType):
        return _contents(value)
    if isinstance(value, MethodType):
        return (value.__self__, value.__func__)
    return (value.func, value.args, value.keywords) if isinstance(value, functools.partial) else ()
