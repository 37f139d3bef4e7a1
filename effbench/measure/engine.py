"""What an inference engine offers, and finding one by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

import effbench.measure.engines
from effbench.measure.size import tensor_bytes


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A network as an engine holds it, for inputs of one size. Called without arguments, it runs on the example."""

    run: Callable[[], object]
    """Runs the network once on the example input, which is where the engine wants it; this is what is timed."""
    outputs: Callable[[Tensor], Tensor]
    """Takes inputs of the example's size, (N, …), on the CPU; returns what the network gives for them, on the CPU."""
    seconds: Callable[[], float] | None = None
    """Runs the network once on the example input, and returns the seconds that this took by the engine's own clock.

    It is there where the engine runs in another process or on another machine: `run`, timed from here, would count the
    way there and back.
    """
    n_bytes: int | None = None
    """The length of the file that the engine runs; None where there is none."""
    download_bytes: int | None = None
    """That of the same file compressed, as it is fetched by a phone."""
    int8_weights: int | None = None
    """How many weights the file holds for kernels of 8-bit integers; None where the engine makes no difference."""
    int8_layers: Sequence[str] = ()
    """The names of the layers that these are of."""
    notes: Sequence[str] = ()
    """What is not run as it was asked for, a line each: what stays float, what the engine has changed."""

    def __call__(self) -> object:
        """Run the network once on the example input."""
        return self.run()


@runtime_checkable
class Engine(Protocol):
    """Something that runs a model. One file in `measure/engines/` each, with one class that has the file's `name`.

    It may also have `prepared_bytes(model, example_input, /) -> int`: what it holds of a model once that is prepared,
    where that is not about what the model's tensors take; `library() -> Library`: what runs its networks, whose bytes
    and loading time are told; `PACKAGES`, the distributions whose versions decide its times, or `versions_of(options)`,
    a static method that returns them; and `IS_PYTORCH = True` where it runs the very arithmetic in which runs are
    evaluated, so that their quality is its own.
    """

    @property
    def name(self) -> str:
        """The word that users write, as in `latency_ms/<name>`."""

    def prepare(self, model: nn.Module, example_input: Tensor, /, *, threads: int) -> Callable[[], object]:
        """Return a function that runs `model` once, in eval mode, on `example_input` (N, …), with `threads` threads.

        The model is left alone, and later changes to it do not reach the function. Nothing that can be done once
        (constraints, conversion, compilation) is left for the function to do. Where the function is a `Prepared`, the
        quality of the network is measured through the engine, too.
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


def evaluates_as_runs_do(engine: Engine, /) -> bool:
    """Whether the quality of a run is that on the engine: it is the one in which runs are evaluated."""
    return bool(getattr(engine, "IS_PYTORCH", False))


def engine_versions(kind: object, options: Mapping[str, Any], /) -> dict[str, str]:
    """Return the versions of the packages that decide an engine's times, by their names.

    kind: its class. options: what it is made with. These are the packages that the class names in `PACKAGES`, beside
    torch; or what its `versions_of(options)` returns, where they are installed elsewhere.
    """
    elsewhere: Callable[[Mapping[str, Any]], dict[str, str]] | None = getattr(kind, "versions_of", None)
    if elsewhere is not None:
        return elsewhere(options)
    return {name: version(name) for name in ("torch", *getattr(kind, "PACKAGES", ()))}


def engine_names() -> tuple[str, ...]:
    """Return the names of the engines there are."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(effbench.measure.engines.__path__)))


def find_engine(name: str, /) -> Engine:
    """Return the engine of that name with its default options.

    ValueError, naming those there are, if there is none, and where its packages are not installed.
    """
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
