"""Hydra, for as long as effbench composes: the caller's own program or notebook may use it too, and gets it back."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import hydra
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from effbench.config.search_path import SearchPath, conf_folder

_Composed = dict[tuple[str | None, ...], DictConfig]
_composed: ContextVar[_Composed] = ContextVar("composed")
"""What was composed from a primary configuration and choices of groups, within the session."""
_SET = "++"
_OF_A_PROGRAM = (GlobalHydra, HydraConfig, JobRuntime, version.VersionBase)
"""What Hydra knows of the program that runs: one of each a process."""


@contextmanager
def hydra_session(path: SearchPath, /) -> Iterator[None]:
    """Have Hydra compose effbench's configuration with that of the user's folders while entered.

    What the caller had initialised before is as it was afterwards.
    """
    before = {kind: Singleton._instances.pop(kind, None) for kind in _OF_A_PROGRAM}
    try:
        version.setbase("1.3")
        where = create_config_search_path(str(conf_folder().resolve()))
        for folder in path.folders:  # where Hydra's own command puts them: before "schema", which is last
            where.prepend("command-line", f"file://{folder.path}", anchor=SearchPathQuery(provider="schema", path=None))
        Hydra.create_main_hydra2(task_name="app", config_search_path=where)
        token = _composed.set({} if path.folders else _of_own_folder(_own_state()))
        try:
            yield
        finally:
            _composed.reset(token)
    finally:
        for kind, instance in before.items():
            Singleton._instances.pop(kind, None)
            if instance is not None:
                Singleton._instances[kind] = instance


def compose(primary: str | None = None, overrides: Sequence[str] = ()) -> DictConfig:
    """Return what Hydra composes, within a session. What is composed from the same choices of groups is made once.

    Overrides that set a value whether or not its key is there (`++key=value`), and stand last, are set afterwards.
    """
    settings: list[str] = []
    choices = [*overrides]
    while choices and choices[-1].startswith(_SET) and not _is_of_groups(choices[-1]):
        settings.insert(0, choices.pop())
    made = _composed.get()
    key = (primary, *choices)
    if key not in made:
        made[key] = hydra.compose(primary, choices)
    node = copy.deepcopy(made[key])
    for override in OverridesParser.create().parse_overrides(settings):
        assert not override.is_sweep_override() and not override.key_or_group.startswith("hydra"), override.input_line
        try:
            OmegaConf.update(node, override.key_or_group, override.value(), merge=True, force_add=True)
        except OmegaConfBaseException:
            raise ConfigCompositionException(f"Error merging override {override.input_line}") from None
    return node


def _is_of_groups(override: str) -> bool:
    """Whether Hydra takes an override for the choice of a group's member."""
    key = override.partition("=")[0].removeprefix(_SET)
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    return "@" in key or loader.repository.group_exists(key)


@lru_cache(maxsize=1)
def _of_own_folder(state: tuple[tuple[str, int, int], ...], /) -> _Composed:
    """Return what was composed from effbench's own folder alone, as long as that is in the same state."""
    return {}


def _own_state() -> tuple[tuple[str, int, int], ...]:
    files = ((str(path), path.stat()) for path in sorted(conf_folder().rglob("*.yaml")))
    return tuple((name, found.st_mtime_ns, found.st_size) for name, found in files)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Have what Hydra refuses told in one clear line: ValueError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(_one_line(error)) from None
    except MarkedYAMLError as error:  # in a file that nothing but Hydra reads: one that another builds on
        mark = error.problem_mark
        where = "" if mark is None else f"{mark.name}, line {mark.line + 1}: "
        raise ValueError(f"{where}is no YAML: {error.problem}") from None


def _one_line(error: Exception) -> str:
    """Return the gist of one of Hydra's messages, which run over several lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    unknown = re.match(r"Could not override '(?P<key>[^']+)'", lines[0] if lines else "")
    if unknown:
        return f"{unknown['key']}: there is no such key"
    other_kind = re.match(r"Error merging override \+*(?P<given>.+)", lines[0] if lines else "")
    if other_kind:
        return f"{other_kind['given']}: is another kind of value than the key has (a list, a mapping or a single one)"
    left_out = ("full_key:", "object_type=", "See https", "^", "Config search path:", "provider=", "Available options")
    kept = [line for line in lines if not line.startswith(left_out)]
    return " ".join(kept[:2]) or type(error).__name__
