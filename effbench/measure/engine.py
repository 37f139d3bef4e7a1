"""What an inference engine offers, and finding one by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

import effbench.measure.engines
from effbench.measure.size import tensor_bytes


@runtime_checkable
class Engine(Protocol):
    """Something that runs a model. One file in `measure/engines/` each, with one class that has the file's `name`.

    It may also have `prepared_bytes(model, example_input, /) -> int`: what it holds of a model once that is prepared,
    where that is not about what the model's tensors take.
    """

    @property
    def name(self) -> str:
        """The word that users write, as in `latency_ms/<name>`."""

    def prepare(self, model: nn.Module, example_input: Tensor, /, *, threads: int) -> Callable[[], object]:
        """Return a function that runs `model` once, in eval mode, on `example_input` (N, …), with `threads` threads.

        The model is left alone, and later changes to it do not reach the function. Nothing that can be done once
        (constraints, conversion, compilation) is left for the function to do.
        """

    def synchronise(self) -> None:
        """Wait until what was started is done."""


def prepared_bytes(engine: Engine, model: nn.Module, example_input: Tensor, /) -> int:
    """Return about how many bytes stay in use for a model that an engine has prepared.

    Unless the engine says it: the model's parameters and buffers as plain tensors, and the input. Activations are there
    for one model at a time, and do not count.
    """
    own: Callable[[nn.Module, Tensor], int] | None = getattr(engine, "prepared_bytes", None)
    return tensor_bytes(model) + example_input.nbytes if own is None else own(model, example_input)


def engine_names() -> tuple[str, ...]:
    """Return the names of the engines there are."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(effbench.measure.engines.__path__)))


def find_engine(name: str, /) -> Engine:
    """Return the engine of that name with its default options. ValueError, naming those there are, if there is none."""
    if name not in engine_names():
        raise ValueError(f"unknown engine {name!r}; there are: {', '.join(engine_names())}")
    module = importlib.import_module(f"effbench.measure.engines.{name}")
    classes = [
        value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
    ]
    (kind,) = [value for value in classes if getattr(value, "name", None) == name]
    engine = kind()
    assert isinstance(engine, Engine), f"{kind.__name__} must have name, prepare and synchronise"
    return engine
