"""Hydra's own keys on a command line: those that do here what they do there, and what to write instead of others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from effbench.checks.fields import shown
from effbench.config.keys import check_choice
from effbench.config.options import read_options
from effbench.config.overrides import values_of
from effbench.config.search_path import PRIMARY, search_path
from effbench.config.typed import unknown_name
from effbench.run.forkserver import end_server

_NO_FOLDERS = "runs have no folders of their own: their files are in MLflow (tracking.artifacts=) and in the store"
_SEARCH = "every point of a sweep is run, in a grid; write the values out, as in prune=0.1,0.5,0.9"
REFUSED: Mapping[str, str] = {
    "hydra.run.dir": f"{_NO_FOLDERS}; give store.root={{value}}",
    "hydra.sweep.dir": f"{_NO_FOLDERS}; give store.root={{value}}",
    "hydra.sweep.subdir": f"{_NO_FOLDERS}; every run is named by its point and has a key",
    "hydra.output_subdir": f"{_NO_FOLDERS}; `--cfg job` prints the configuration; null is what it is here",
    "hydra.job.name": "runs are named by their points; tracking.experiment={value} names where they are logged",
    "hydra.job.chdir": "runs stay in the working folder, as relative paths are of there; false is what it is here",
    "hydra.job.id": "is the run's own to fill in; tracking.experiment= names where runs are logged",
    "hydra.job.num": "is the run's own to fill in; tracking.experiment= names where runs are logged",
    "hydra.job.override_dirname": f"{_NO_FOLDERS}; every run is named by its point and has a key",
    "hydra.job.config": f"{_NO_FOLDERS}; every run is named by its point and has a key",
    "hydra.sweeper.max_batch_size": "sweep.jobs={value} is how many runs go at once",
}
"""Keys that have no meaning here, by what is written instead."""
FILLED = ("hydra.overrides", "hydra.runtime", "hydra.job.config_name")
"""Keys that Hydra fills in itself."""
ADDED_TO = ("callbacks", "job.env_set", "job_logging", "hydra_logging", "launcher", "sweeper", "help", "hydra_help")
"""Nodes of Hydra's that have whatever keys one likes."""
TAKEN = {"hydra.output_subdir": (None,), "hydra.job.chdir": (None, False), "hydra.sweeper.max_batch_size": (None,)}
"""Values of theirs that are as it is here."""
_GROUPS = ("job_logging", "hydra_logging", "help", "hydra_help", "env", "callbacks", "output", "sweeper")


@dataclass(frozen=True, kw_only=True)
class HydraSettings:
    """What a command says of Hydra itself, checked."""

    lines: tuple[str, ...] = ()
    """The overrides, as Hydra takes them."""
    node: Mapping[str, Any] = field(default_factory=dict)
    """Hydra's node where something of it is said: nothing in it is resolved."""
    is_single: bool = False
    """Whether one run is asked for."""
    loggings: tuple[str, ...] = ()
    """Which of "hydra_logging" and "job_logging" are said to be other than effbench's own."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that runs are to have."""
        return {str(name): str(value) for name, value in self._resolved("job.env_set").items()}

    @property
    def callbacks(self) -> dict[str, Any]:
        """The callbacks, by their names."""
        return self._resolved("callbacks")

    @property
    def of_launchers(self) -> tuple[str, ...]:
        """The overrides that jobs of a launcher are to have, too."""
        kept = (
            "++hydra.job.env_",
            "hydra.job.env_",
            "++hydra.job_logging",
            "hydra/job_logging",
            "hydra.verbose",
            "hydra/env",
        )
        return tuple(line for line in self.lines if line.startswith(kept))

    def _resolved(self, key: str) -> dict[str, Any]:
        """Return a mapping within the node, resolved."""
        config = OmegaConf.create({"hydra": dict(self.node)})
        found = OmegaConf.select(config, f"hydra.{key}")
        plain = OmegaConf.to_container(found, resolve=True) if isinstance(found, DictConfig) else {}
        assert isinstance(plain, dict)
        return {str(name): value for name, value in plain.items()}


def is_hydras_own(key: str, /) -> bool:
    """Whether a key is one of Hydra's, but for those of its launchers."""
    return key.startswith(("hydra.", "hydra/")) and key != "hydra/launcher" and not _is_of_launcher(key)


def _is_of_launcher(key: str) -> bool:
    return key == "hydra.launcher" or key.startswith("hydra.launcher.")


def hydra_settings(overrides: Sequence[Override], /) -> HydraSettings:
    """Return what overrides of Hydra's keys say, within a session of Hydra.

    ValueError, in one line, which names what is written instead of a key that means nothing here.
    """
    if not overrides:
        return HydraSettings()
    for override in overrides:
        _check(override)
    lines = tuple(_line(override) for override in overrides)
    node, plain = hydra_node(lines, search_path().primary), _plain_node()
    for key, instead in REFUSED.items():
        before, now = (OmegaConf.to_container(OmegaConf.create({"hydra": n}), resolve=False) for n in (plain, node))
        value = _at(now, key)
        if value != _at(before, key) and not any(value is taken for taken in TAKEN.get(key, ())):
            raise ValueError(f"{key}={shown(value)}: {instead.format(value=value)}")
    given = {override.key_or_group: override for override in overrides}
    settings = HydraSettings(
        lines=lines,
        node=node,
        is_single=str(node.get("mode")).endswith("RUN") and "MULTI" not in str(node.get("mode")),
        loggings=tuple(name for name in ("hydra_logging", "job_logging") if _is_other(name, given)),
    )
    _check_values(settings)
    return settings


@lru_cache(maxsize=1)
def _plain_node() -> dict[str, Any]:
    """Return Hydra's node where nothing is said of it."""
    return hydra_node((), PRIMARY)


def hydra_node(lines: Sequence[str], primary: str, /) -> dict[str, Any]:
    """Return Hydra's node with overrides of its own, unresolved. ValueError for a key that it lacks.

    primary: the configuration that runs begin with.
    """
    loader = GlobalHydra.instance().config_loader()
    try:
        config = loader.load_configuration(primary, list(lines), run_mode=RunMode.MULTIRUN)
    except (HydraException, OmegaConfBaseException) as error:
        for line in lines:
            key = line.partition("=")[0].lstrip("+")
            if key in str(error) or f"'{key.rpartition('.')[2]}'" in str(error):
                known = [*REFUSED, *_LEAVES, *(f"hydra/{group}" for group in _GROUPS)]
                raise ValueError(unknown_name(key, known, "key", shown=known)) from None
        raise
    plain = OmegaConf.to_container(config.hydra, resolve=False)
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items()}


_LEAVES = (
    *("hydra.mode", "hydra.verbose", "hydra.searchpath", "hydra.job.env_set", "hydra.job.env_copy", "hydra.callbacks"),
    *("hydra.job_logging", "hydra.hydra_logging", "hydra.sweeper.params", "hydra.launcher"),
)
"""Keys that mean something here."""


def _check(override: Override) -> None:
    key, line = override.key_or_group, override.input_line or ""
    group = key.partition("/")[2]
    if override.is_sweep_override():
        raise ValueError(f"{line}: takes one value, for the whole sweep")
    (value,) = values_of(override)
    if group == "sweeper" and value != "basic":
        raise ValueError(f"{line}: {_SEARCH}")
    if key.startswith("hydra.sweeper.") and key != "hydra.sweeper.max_batch_size":
        raise ValueError(f"{line}: {_SEARCH}")
    if group:
        if group not in _GROUPS:
            known = [f"hydra/{name}" for name in (*_GROUPS, "launcher")]
            raise ValueError(unknown_name(key, known, "group"))
        for member in value if isinstance(value, list) else [value]:
            if member is not None or group != "callbacks":
                check_choice(key, member)
    if key.startswith(("hydra/help", "hydra.help")) and (key != "hydra/help" or value not in ("default", None)):
        raise ValueError(f"{line}: --help is effbench's own page, of its axes and keys; --hydra-help is Hydra's")
    if key.startswith(FILLED):
        raise ValueError(f"{line}: is Hydra's own to fill in; give the keys of the sweep themselves")
    if key == "hydra.searchpath":
        raise ValueError(f"{line}: comes too late in an experiment, which is found by it; give it in the command")


def _line(override: Override) -> str:
    """Return an override as Hydra takes it, whether or not its key is there before."""
    written, _, value = (override.input_line or "").partition("=")
    key = written.lstrip("+")
    is_added = any(key.startswith(f"hydra.{node}.") or key == f"hydra.{node}" for node in ADDED_TO)
    return f"++{key}={value}" if is_added else f"{key}={value}"


def _is_other(name: str, given: Mapping[str, Override]) -> bool:
    """Whether a command says how to log, otherwise than effbench has it."""
    if any(key.startswith(f"hydra.{name}.") or key == f"hydra.{name}" for key in given):
        return True
    group = given.get(f"hydra/{name}")
    return group is not None and group.value() not in ("default", "none")


def _check_values(settings: HydraSettings) -> None:
    """Refuse what can't be resolved, and callbacks that are none."""
    try:
        _ = settings.environment
        callbacks = settings.callbacks
    except OmegaConfBaseException as error:
        raise ValueError(f"hydra.{error.full_key}: {str(error).splitlines()[0]}") from None
    for name, node in callbacks.items():
        if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
            where = f"hydra.callbacks.{name}"
            raise ValueError(f"{where}={shown(node)}: must be a class, as in +{where}._target_=my_module.MyCallback")


def check_run_mode(arguments: Sequence[str], settings: HydraSettings, n_runs: int, /) -> None:
    """Refuse `--run`, or hydra.mode=RUN, of what is swept. n_runs: how many points are asked for."""
    asked = "--run" if "--run" in read_options(arguments) else "hydra.mode=RUN" if settings.is_single else None
    if asked is not None and n_runs > 1:
        raise ValueError(f"{asked}: asks for one run, and {n_runs} are swept; leave it out, or write --multirun")


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def set_environment(settings: HydraSettings, /) -> None:
    """Give this process, and those that it begins from now on, the variables that runs are to have."""
    changed = {name: value for name, value in settings.environment.items() if os.environ.get(name) != value}
    if changed:
        os.environ.update(changed)
        end_server()  # one that has begun would not know


@contextmanager
def environment_kept() -> Iterator[None]:
    """Have the environment as it was before afterwards: for a program that does other things, too."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
