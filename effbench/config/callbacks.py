"""Hydra's callbacks, told of a sweep and of its runs as Hydra tells them.

`+hydra.callbacks.mine._target_=my_module.Mine`, or hydra: callbacks: in a file, names classes with the methods
on_multirun_start, on_job_start, on_job_end and on_multirun_end of `hydra.experimental.callback.Callback`. All are
called in the process of the command, wherever runs are computed, for every run of the sweep, its references and those
that were computed before included. One that raises is warned of, as with Hydra, and the sweep goes on.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from effbench.checks.errors import kind_and_line
from effbench.config.command_line import CommandLine
from effbench.config.hydra_session import hydra_session, in_one_line
from effbench.config.shown_config import whole_config
from effbench.plan.point import Point
from effbench.run.one import run_point
from effbench.run.outcomes import Executor, Observer, Outcome, Outcomes, RunError
from effbench.run.store import Store


def callbacks_of(command: CommandLine, /) -> dict[str, Any]:
    """Return the configuration that callbacks are told of, and that names them; empty where a command has none.

    ValueError, in one line, for one that can't be made.
    """
    named = command.hydra.callbacks
    if not named:
        return {}
    with in_one_line(), hydra_session(command.search_path):
        config = whole_config(command, with_hydra=True)
        for name in named:
            try:
                Callbacks(OmegaConf.create({"hydra": {"callbacks": {name: config.hydra.callbacks[name]}}}))
            except (Exception, SystemExit) as error:
                why = kind_and_line(_first_cause(error))
                target = named[name]["_target_"]
                raise ValueError(f"hydra.callbacks.{name}._target_={target}: can't be made: {why}") from None
        config.hydra.mode = RunMode.MULTIRUN
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


@contextmanager
def telling(config: Mapping[str, Any], execute: Executor, /) -> Iterator[Executor]:
    """Tell callbacks of a sweep that is done while entered; gives what runs its points, which tells of each.

    As with Hydra nothing is told of the end of what was interrupted.
    """
    whole = OmegaConf.create(dict(config))
    callbacks = Callbacks(whole)
    with _hydra_config(whole):
        callbacks.on_multirun_start(config=whole, config_name=None)

    numbers: dict[str, int] = {}

    def executor(points: Sequence[Point], store: Store, device: torch.device, observer: Observer) -> Outcomes:
        for point in points:  # those that refining adds go on where the grid ended
            numbers.setdefault(point.key, len(numbers))
        told = _Told(callbacks, lambda point: _of_run(whole, point, numbers[point.key]))
        return _telling_ends(execute(points, store, device, _Telling(observer, told)), told)

    yield executor
    with _hydra_config(whole):
        callbacks.on_multirun_end(config=whole, config_name=None)


class _Told:
    """Tells callbacks of the beginning and the end of each run, once."""

    def __init__(self, callbacks: Callbacks, config_of: Callable[[Point], DictConfig]) -> None:
        self._callbacks, self._config_of = callbacks, config_of
        self._begun: set[str] = set()

    def begin(self, point: Point) -> None:
        """Tell that a run begins."""
        if point.key not in self._begun:
            self._begun.add(point.key)
            config = self._config_of(point)
            with _hydra_config(config):
                self._callbacks.on_job_start(config=config, task_function=run_point)  # type: ignore[arg-type]

    def end(self, point: Point, outcome: Outcome) -> None:
        """Tell that a run ended, which one of those that nothing was computed for may not have begun before."""
        self.begin(point)
        config = self._config_of(point)
        with _hydra_config(config):
            self._callbacks.on_job_end(config=config, job_return=_job_return(config, outcome))


class _Telling:
    """An observer of runs that tells callbacks of their beginning, and passes everything on."""

    def __init__(self, observer: Observer, told: _Told) -> None:
        self._observer, self._told = observer, told
        self.run_began, self.step, self.epoch_ended = observer.run_began, observer.step, observer.epoch_ended
        self.run_computed = observer.run_computed

    def run_started(self, point: Point) -> None:
        """Tell of a run that begins."""
        self._observer.run_started(point)
        self._told.begin(point)


def _telling_ends(outcomes: Outcomes, told: _Told) -> Outcomes:
    try:
        for point, outcome in outcomes:
            told.end(point, outcome)
            yield point, outcome
    finally:
        outcomes.close()


def _of_run(whole: DictConfig, point: Point, number: int) -> DictConfig:
    """Return the configuration of a run: the sweep's, with what the run has of its axes and swept keys."""
    config = copy.deepcopy(whole)
    given = {**point.axes, **point.swept, "seed": point.seed}
    with open_dict(config):
        for key, value in given.items():
            OmegaConf.update(config, key, value, merge=False, force_add=True)
        config.hydra.job.num, config.hydra.job.id = number, point.key
        config.hydra.job.name = str(point)
        config.hydra.overrides.task = [f"{key}={value}" for key, value in given.items()]
        config.hydra.runtime.output_dir = os.getcwd()
    return config


def _first_cause(error: BaseException) -> BaseException:
    """Return what went wrong first: what Hydra makes of it names the class once more, and no more."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _job_return(config: DictConfig, outcome: Outcome) -> JobReturn:
    """Return what Hydra says of a job that ended. Its value is the run's metrics, or its error."""
    ended = JobReturn(
        overrides=list(config.hydra.overrides.task),
        cfg=OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]),
        hydra_cfg=OmegaConf.masked_copy(config, ["hydra"]),
        working_dir=os.getcwd(),
        task_name=config.hydra.job.name,
    )
    is_failed = isinstance(outcome, RunError)
    ended.return_value = outcome if isinstance(outcome, RunError) else dict(outcome.metrics)
    ended.status = JobStatus.FAILED if is_failed else JobStatus.COMPLETED
    return ended


@contextmanager
def _hydra_config(config: DictConfig) -> Iterator[None]:
    """Have `${hydra:…}` and HydraConfig.get() be of a configuration while entered."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().cfg = config  # type: ignore[assignment]
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before
