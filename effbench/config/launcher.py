"""Points run by one of Hydra's launchers (joblib, Ray, submitit …): hydra/launcher=joblib hydra.launcher.n_jobs=4."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from effbench.config.hydra_session import hydra_session
from effbench.config.search_path import Folder, SearchPath
from effbench.plan.point import Point
from effbench.run.announcements import announce, telling_of
from effbench.run.interruption import check
from effbench.run.one import run_point
from effbench.run.outcomes import Observer, Outcome, Outcomes, RunError
from effbench.run.parcel import Parcel
from effbench.run.store import Store
from effbench.run.workers import run_in_workers
from effbench.training.curves import Row


def run_by_launcher(
    points: Sequence[Point],
    store: Store,
    device: torch.device,
    observer: Observer,
    *,
    overrides: Sequence[str],
    folders: Sequence[str] = (),
    timeout: float | None = None,
) -> Outcomes:
    """Run the references, then the other points, by the launcher that `overrides` name; the store must be shared.

    A run that takes longer than `timeout` seconds fails: its job ends the process that it began for it. folders: the
    user's, of configuration.
    """
    by_key = {point.key: point for point in points}
    shared = replace(store, root=store.root.resolve())
    parcel = Parcel.of(points)
    task = partial(_run, parcel=parcel, points=by_key, store=shared, device=device, timeout=timeout)
    folder = store.root.resolve() / "launcher"
    settings = [f"hydra.sweep.dir={folder}", "hydra.sweep.subdir=${hydra.job.num}", "hydra.output_subdir=null"]
    # After Ctrl-C joblib's own process frees what ended jobs left, and would warn of each such thing.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    with hydra_session(SearchPath(folders=tuple(Folder(Path(folder), folder) for folder in folders))):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", [*settings, *overrides], run_mode=RunMode.MULTIRUN)
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
        waves = [[p for p in points if p.is_reference], [p for p in points if not p.is_reference]]
        n_launched = 0
        for wave in filter(None, waves):
            for point in wave:
                observer.run_started(point)
            jobs = [[f"+launched_point={point.key}"] for point in wave]
            with telling_of(wave, shared, observer):
                ended = _launched(launcher, jobs, n_launched)
            for point, job in zip(wave, ended, strict=True):
                observer.run_computed(point)
                yield point, _result(job)
            n_launched += len(wave)


def _launched(launcher: Launcher, jobs: Sequence[Sequence[str]], n_before: int) -> Sequence[JobReturn]:
    """Return how jobs ended. Those that were ended by Ctrl-C, and what launchers make of it, are no failures."""
    try:
        return launcher.launch(jobs, initial_job_idx=n_before)
    finally:
        check()


def _run(
    config: DictConfig,
    *,
    parcel: Parcel,
    points: Mapping[str, Point],
    store: Store,
    device: torch.device,
    timeout: float | None,
) -> Outcome:
    """Run one point, wherever the launcher put it."""
    point = points[str(config.launched_point)]
    try:
        parcel.take_objects()
        if timeout is None:
            return run_point(point, store, device=device, begin=partial(announce, store, point.key))
        runs = run_in_workers([point], store, device, _Unobserved(store), n_workers=1, timeout=timeout)
        ((_, outcome),) = runs
        return outcome
    except (Exception, SystemExit) as error:
        return RunError.of(error)


class _Unobserved:
    """Nobody looks on in a job; that it began is announced."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def run_started(self, point: Point) -> None:
        """Tell nobody."""

    def run_began(self, point: Point, seconds: float) -> None:
        """Announce it."""
        announce(self._store, point.key, seconds)

    def step(self, point: Point, step: str, done: int, total: int) -> None:
        """Tell nobody."""

    def epoch_ended(self, point: Point, row: Row) -> None:
        """Tell nobody: the result has the curves."""

    def run_computed(self, point: Point) -> None:
        """Tell nobody."""


def _result(job: JobReturn) -> Outcome:
    try:
        result: Outcome = job.return_value
    except Exception as error:  # the launcher itself could not run it
        return RunError.of(error)
    return result
