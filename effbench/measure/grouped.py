"""Latency of more models than memory holds: in groups, each interleaved with its references."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from torch import nn

from effbench.checks.errors import kind_and_line
from effbench.measure.cores import OthersWatch, held_to
from effbench.measure.engine import Engine, prepared_bytes
from effbench.measure.latency import example_input
from effbench.measure.rounds import Call, Samples, sample_rounds, samples_frame
from effbench.measure.stopwatch import Clock, quiet, timed


@dataclass(frozen=True, kw_only=True)
class GroupedSamples:
    """What was measured, and what could not be."""

    samples: pd.DataFrame
    """As `sample_latency` gives them; each group has rounds of its own, numbered on."""
    failures: Mapping[str, str]
    """Why a model was not measured, in a line, by its name."""
    others_busy: float = 0.0
    """How many cores other processes kept busy meanwhile, on average."""


def sample_in_groups(
    models: Mapping[str, Callable[[], nn.Module]],
    input_sizes: Mapping[str, Sequence[int]],
    /,
    *,
    references: Mapping[str, str],
    memory: int,
    engine: Engine,
    threads: int = 1,
    batch: int = 1,
    seconds: float = 1.0,
    n_rounds: int = 20,
    seed: int = 0,
    clock: Clock = time.perf_counter,
    on_progress: Callable[[float], None] = lambda share: None,
    inspect: Callable[[str, nn.Module, Callable[[], object]], None] = lambda name, model, prepared: None,
) -> GroupedSamples:
    """Time single calls of every model, as `sample_latency` does, with at most `memory` bytes of prepared models.

    Models are made and prepared one at a time, and dropped as soon as the engine has its own copy. Where all fit, they
    are one group, measured as `sample_latency` measures them. Otherwise there are groups of as many as fit (at least
    one model and its reference), and a model's reference is in its group: each speed-up comes from rounds that both
    were in. A reference of several groups has samples from the rounds of all of them.

    models: what makes each model, by name. references: the reference of a model, by its name; one that isn't among the
    models is no reference. memory: beyond it, while a model is prepared, there are that model and its copy. A model
    that can't be made, prepared or run is a failure of its own; the others are measured. While they are timed, the
    process stays on `threads` cores where the system lets it (`cores.held_to`). inspect: is shown each model and what
    the engine has made of it, before anything is timed; what it raises is a failure of the model.
    """
    settings = _Settings(engine, threads, batch, seconds, n_rounds, seed, clock)
    run = _Run(models, input_sizes, settings, on_progress, inspect)
    with quiet(threads):
        held: dict[str, _Prepared] = {}
        for name in _after_references(models, references):
            prepared = run.prepare(name)
            gc.collect(0)  # the model that was prepared, in case something goes round in it: the collector waits
            if prepared is None:
                continue
            if sum(one.n_bytes for one in (*held.values(), prepared)) > memory:
                shared = {other: held[other] for other in (references.get(name),) if other in held}
                if len(shared) < len(held):
                    run.measure(held)
                    held = shared
                    gc.collect()
            held[name] = prepared
        run.measure(held)
    return GroupedSamples(
        samples=samples_frame(run.samples, models), failures=run.failures, others_busy=run.others_busy
    )


@dataclass(frozen=True)
class _Prepared:
    """A model as the engine holds it."""

    call: Call
    n_bytes: int


@dataclass(frozen=True)
class _Settings:
    engine: Engine
    threads: int
    batch: int
    seconds: float
    n_rounds: int
    seed: int
    clock: Clock


class _Run:
    """Measures group after group; gathers samples and failures."""

    def __init__(
        self,
        models: Mapping[str, Callable[[], nn.Module]],
        input_sizes: Mapping[str, Sequence[int]],
        settings: _Settings,
        on_progress: Callable[[float], None],
        inspect: Callable[[str, nn.Module, Callable[[], object]], None],
    ) -> None:
        self._models, self._input_sizes = models, input_sizes
        self._settings, self._on_progress, self._inspect = settings, on_progress, inspect
        self._watch = OthersWatch()
        self._generator = random.Random(settings.seed)
        self._n_groups = 0
        self.samples: Samples = {}
        self.failures: dict[str, str] = {}

    @property
    def others_busy(self) -> float:
        """How many cores other processes kept busy while models were timed, on average."""
        return self._watch.cores_busy

    def prepare(self, name: str) -> _Prepared | None:
        """Make a model and have the engine prepare it; None where that fails."""
        settings = self._settings
        try:
            model = self._models[name]()
            values = example_input(model, (settings.batch, *self._input_sizes[name]), settings.seed)
            run = settings.engine.prepare(model, values, threads=settings.threads)
            self._inspect(name, model, run)
            return _Prepared(
                timed(run, settings.engine, settings.clock), prepared_bytes(settings.engine, model, values)
            )
        except Exception as error:  # whatever an engine raises: the other models are measured
            self._fail(name, error)
            return None

    def measure(self, held: Mapping[str, _Prepared]) -> None:
        """Measure a group, in the models' own order."""
        settings, n_before = self._settings, len(self.samples)
        n_new = len(held.keys() - self.samples.keys())

        def tell(n_rounds: int) -> None:
            self._on_progress((n_before + n_new * n_rounds / settings.n_rounds) / len(self._models))

        with held_to(settings.threads), self._watch.watching():
            found = sample_rounds(
                {name: held[name].call for name in self._models if name in held and name not in self.failures},
                seconds=settings.seconds,
                n_rounds=settings.n_rounds,
                generator=self._generator,
                first_round=self._n_groups * settings.n_rounds,
                on_error=self._fail,
                on_round=tell,
            )
        for name, samples in found.items():
            self.samples.setdefault(name, []).extend(samples)
        self._n_groups += 1

    def _fail(self, name: str, error: Exception) -> None:
        self.failures[name] = kind_and_line(error)
        self.samples.pop(name, None)


def _after_references(names: Iterable[str], references: Mapping[str, str]) -> list[str]:
    """Return the names in such an order that those of one reference come together, after it."""
    blocks: dict[str, list[str]] = {}
    names = list(names)
    for name in names:
        reference = references.get(name, name)
        blocks.setdefault(reference, [reference] if reference in names else [])
        if name != reference:
            blocks[reference].append(name)
    return list(dict.fromkeys(name for block in blocks.values() for name in block))
