"""What a command says of its launcher, checked before anything starts: its name, its options, what it needs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from effbench.checks.errors import first_line
from effbench.config.keys import check_choice, options_of
from effbench.config.overrides import values_of
from effbench.config.search_path import PRIMARY
from effbench.config.typed import typed
from effbench.run.ray_jobs import RayJobs, RayOptions
from effbench.run.submitit_jobs import LocalOptions, SlurmOptions, SubmititJobs

GROUP = "hydra/launcher"
_EXTRAS = {"ray": "ray", "submitit_local": "submitit", "submitit_slurm": "submitit", "joblib": "joblib"}
"""The extra that a launcher needs, of which the package of that name is part."""
_FREE = ("hydra.launcher.ray.init.", "hydra.launcher.ray.remote.")
"""Nodes whose keys are whatever a function of Ray's takes: no + is needed before one."""
_RAY, _LOCAL, _SLURM = (f"{kind.__module__}.{kind.__qualname__}" for kind in (RayJobs, LocalOptions, SlurmOptions))
_SAME = {
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher": _RAY,
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher": _LOCAL,
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher": _SLURM,
}
"""Launchers of Hydra's own, which a user's file may build on: they take the same options."""


def read_launcher(overrides: Sequence[Override], /, *, also: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the overrides as Hydra takes them, within a session of its. ValueError for what can't be launched so.

    also: other overrides that jobs are to have, where there is a launcher.
    """
    lines = tuple(_line(override) for override in overrides)
    lines += tuple(also) if lines else ()
    for override in overrides:
        if override.is_sweep_override():
            raise ValueError(f"{override.input_line}: takes one value, for the whole sweep")
        if override.key_or_group == GROUP:
            for value in values_of(override):
                _check_installed(str(value), known=options_of(GROUP))
                check_choice(GROUP, value)
    if lines:
        backend = backend_of(compose_launcher(lines), threads=1, jobs=None, device=torch.device("cpu"))
        if backend is not None:
            backend.check()
    return lines


def compose_launcher(lines: Sequence[str], /) -> DictConfig:
    """Return Hydra's own configuration, within a session of its."""
    loader = GlobalHydra.instance().config_loader()
    with warnings.catch_warnings():
        # Of a plugin that has a launcher of the same name: its schema fits, as the options are the same.
        warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
        try:
            return loader.load_configuration(PRIMARY, list(lines), run_mode=RunMode.MULTIRUN)
        except ConfigCompositionException as error:
            what, why = first_line(error), first_line(error.__cause__ or "")
            if not why or not what.startswith("Error merging override "):
                raise
            raise ValueError(f"{what.removeprefix('Error merging override ')}: {why}") from None


def backend_of(
    config: DictConfig, /, *, threads: int, jobs: int | None, device: torch.device
) -> RayJobs | SubmititJobs | None:
    """Return what runs jobs as a configuration of Hydra's has it; None where a launcher of Hydra's does.

    threads: of a run. jobs: how many run at once on this machine, where the command says so. ValueError for options
    that are none.
    """
    node = OmegaConf.to_container(config.hydra.launcher, resolve=False)
    assert isinstance(node, dict)
    target = _SAME.get(str(node.get("_target_")), str(node.get("_target_")))
    make = _BACKENDS.get(target)
    if make is None:
        return None
    return make({str(name): value for name, value in node.items() if name != "_target_"}, threads, jobs, device)


def _ray(node: Mapping[str, Any], threads: int, jobs: int | None, device: torch.device) -> RayJobs:
    _check_installed("ray")
    for name in node:
        if name != "ray":
            raise ValueError(f"hydra.launcher.{name}: there is no such key; known: ray.init.…, ray.remote.…")
    options = typed(RayOptions, node["ray"], where="hydra.launcher.ray")
    return RayJobs(options=options, threads=threads, at_once=jobs, device=device)


def _local(node: Mapping[str, Any], threads: int, jobs: int | None, device: torch.device) -> SubmititJobs:
    _check_installed("submitit_local")
    options = typed(LocalOptions, _without_defaults_of_hydra(node), where="hydra.launcher")
    return SubmititJobs(options=options, cluster="local", threads=threads, at_once=_fitting(threads, jobs))


def _slurm(node: Mapping[str, Any], threads: int, jobs: int | None, device: torch.device) -> SubmititJobs:
    _check_installed("submitit_slurm")
    options = typed(SlurmOptions, _without_defaults_of_hydra(node), where="hydra.launcher")
    return SubmititJobs(options=options, cluster="slurm", threads=threads, at_once=_fitting(threads, jobs))


_BACKENDS: Mapping[str, Callable[[Mapping[str, Any], int, int | None, torch.device], RayJobs | SubmititJobs]] = {
    _RAY: _ray,
    _LOCAL: _local,
    _SLURM: _slurm,
}


def _without_defaults_of_hydra(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without those that refer to a job of Hydra's, which these are not."""
    return {name: value for name, value in node.items() if not (isinstance(value, str) and "${hydra." in value)}


def _fitting(threads: int, jobs: int | None) -> int:
    return jobs or max(1, (os.cpu_count() or 1) // threads)


def _check_installed(name: str, *, known: Sequence[str] = ()) -> None:
    """Refuse a launcher whose extra is not there."""
    extra = _EXTRAS.get(name)
    spec = None if extra is None else find_spec(extra)
    is_there = spec is not None and spec.origin is not None  # a folder that is called so has none
    if extra is not None and not (is_there and (name in known or not known)):
        raise ValueError(f"{GROUP}={name}: is not installed; pip install 'effbench[{extra}]'")


def _line(override: Override) -> str:
    """Return an override as it was written; an option that the launcher's function takes is added."""
    written = override.input_line or ""
    return f"++{written}" if written.startswith(_FREE) else written
