"""Points run by the launcher that a command names: joblib, ray, submitit_local, submitit_slurm, or one of a user's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from effbench.checks.owner import Owner
from effbench.config.hydra_jobs import HydraJobs
from effbench.config.hydra_session import hydra_session
from effbench.config.launcher_options import backend_of, compose_launcher
from effbench.config.search_path import Folder, SearchPath
from effbench.plan.point import Point
from effbench.run.launched import run_by
from effbench.run.outcomes import CannotBegin, Observer, Outcomes
from effbench.run.parcel import given_names
from effbench.run.ray_jobs import RayJobs
from effbench.run.store import Store
from effbench.run.submitit_jobs import SubmititJobs


def run_by_launcher(
    points: Sequence[Point],
    store: Store,
    device: torch.device,
    observer: Observer,
    *,
    overrides: Sequence[str],
    folders: Sequence[str] = (),
    timeout: float | None = None,
    jobs: int | None = None,
) -> Outcomes:
    """Run the points by the launcher that `overrides` name, all at once; its machines must share the store.

    A run that takes longer than `timeout` seconds fails: its job ends the process that it began for it. folders: the
    user's, of configuration. jobs: how many run at once on this machine, where the command says so. `CannotBegin` where
    nothing can be launched.
    """
    runs = _launched(points, store, device, observer, overrides, folders, timeout, jobs)
    next(runs)
    return runs


def _launched(
    points: Sequence[Point],
    store: Store,
    device: torch.device,
    observer: Observer,
    overrides: Sequence[str],
    folders: Sequence[str],
    timeout: float | None,
    jobs: int | None,
) -> Outcomes:
    threads = max((point.chain.threads for point in points), default=1)
    with hydra_session(SearchPath(folders=tuple(Folder(Path(folder), folder) for folder in folders))):
        backend = backend_of(compose_launcher(overrides), threads=threads, jobs=jobs, device=device)
        by_file = isinstance(backend, SubmititJobs)
        if by_file and (names := given_names(points)):
            raise CannotBegin(
                f"{', '.join(names)}: submitit would write what Python gives into files, as code; name a function that "
                "can be imported, as in model._target_=my_module.net, or take hydra/launcher=ray or joblib"
            )
        runs = run_by(
            backend or HydraJobs(overrides=overrides),
            points,
            store,
            device,
            observer,
            timeout=timeout,
            is_apart=isinstance(backend, RayJobs),
            with_environment=not by_file,
            caller=Owner.here() if by_file else None,
        )
        try:
            yield cast("tuple", None)  # type: ignore[type-arg]
            yield from runs
        finally:
            runs.close()
