"""What Hydra found for a command, as `--info` and `--hydra-help` print it."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import hydra
from hydra._internal import hydra as hydras
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from effbench.config.command_line import CommandLine, every_member
from effbench.config.hydra_session import hydra_session, in_one_line
from effbench.config.options import options_help
from effbench.config.redo import command_line_of
from effbench.config.search_path import search_path, searching
from effbench.config.shown_config import config_text


def info_text(arguments: Sequence[str], kind: str, /) -> str:
    """Return what Hydra tells of a command: its search path, its defaults, plugins, or the configuration.

    ValueError, in one line, for a command that does not fit.
    """
    command = command_line_of(arguments)
    if command.search_path.resolved is not None and kind not in ("plugins", "searchpath"):
        name = command.search_path.resolved.name
        raise ValueError(
            f"--info {kind}: {name} is the whole configuration of a run, built on nothing; --cfg job prints it"
        )
    config = config_text(arguments, kind="job") if kind in ("all", "config") else ""
    with in_one_line(), searching(command.search_path), hydra_session(command.search_path), _told() as told:
        _print(kind, _overrides(command))
    text = told.getvalue().strip("\n")
    return f"{text}\n\nConfig\n{'*' * 6}\n{config}" if config else text


def _overrides(command: CommandLine) -> list[str]:
    """Return the overrides that the first configuration of a command is composed from."""
    return [*every_member(), *command.configurations[0].overrides, *command.hydra.lines, *command.launcher]


def _print(kind: str, overrides: list[str]) -> None:
    own, primary = GlobalHydra.instance().hydra, search_path().primary
    assert own is not None
    printers: dict[str, Callable[[Hydra], None]] = {
        "plugins": lambda h: h._print_plugins_info(primary, overrides, RunMode.MULTIRUN),
        "searchpath": lambda h: h._print_search_path(primary, overrides, RunMode.MULTIRUN),
        "defaults-tree": lambda h: h._print_defaults_tree(primary, overrides, RunMode.MULTIRUN),
        "defaults": lambda h: h._print_defaults_list(primary, overrides, RunMode.MULTIRUN),
    }
    names = {"all": [*printers], "config": ["searchpath", "defaults-tree", "defaults"]}.get(kind, [kind])
    if kind == "all":
        hydras.log.info("Hydra %s", hydra.__version__)  # type: ignore[union-attr]
    for name in names:
        printers[name](own)


@contextmanager
def _told() -> Iterator[io.StringIO]:
    """Catch what Hydra tells, which it does by a logger of its own, and leave logging as it was."""
    told = io.StringIO()
    logger = logging.Logger("hydra", logging.DEBUG)
    logger.addHandler(logging.StreamHandler(told))
    before = hydras.log
    hydras.log = logger
    try:
        yield told
    finally:
        hydras.log = before


def hydra_help(arguments: Sequence[str], /) -> str:
    """Return Hydra's own help page, with effbench's options. ValueError, in one line, for what does not fit."""
    command = command_line_of(arguments)
    with in_one_line(), searching(command.search_path), hydra_session(command.search_path):
        own = GlobalHydra.instance().hydra
        assert own is not None
        lines = list(command.hydra.lines)
        config = own.config_loader.load_configuration(search_path().primary, lines, run_mode=RunMode.MULTIRUN)
        help_node = OmegaConf.select(config, "hydra.hydra_help")
        text = own.get_help(help_node, config, _Options(), resolve=False)  # type: ignore[arg-type]
    return text.replace(_MARK, options_help()).strip("\n")


_MARK = "<options>"


class _Options:
    """Stands for Hydra's parser of arguments, of which its page prints the options: effbench's are others."""

    class _Action:
        option_strings: tuple[str, ...] = ()
        help = f"key=value, as `effbench sweep --help` explains\n{_MARK}"

    _actions = (_Action(),)
