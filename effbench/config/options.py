"""The options of the command, which begin with a dash: Hydra's own, read wherever they stand in the line.

This module imports nothing heavy: it is asked before anything else of a command is.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
CFG = ("job", "hydra", "all")


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option: how it is written, and what it does, for the help page."""

    short: str | None
    help: str
    example: str | None = None
    """What must follow it, for messages; None where nothing does."""
    choices: Sequence[str] = ()
    """What may follow it; empty: anything."""
    default: str | None = None
    """What it is where nothing follows."""
    again: str = ""
    """What to write instead of giving it twice."""


_MORE = "hydra.searchpath=[pkg://my_package.conf] or hydra.searchpath=[file:///path/to/conf]"
OPTIONS: Mapping[str, Option] = {
    "--help": Option(short="-h", help="the page that explains axes and keys"),
    "--hydra-help": Option(short=None, help="Hydra's own page: its groups, and these options"),
    "--version": Option(short=None, help="which effbench this is"),
    "--multirun": Option(short="-m", help="accepted: every command is a sweep"),
    "--run": Option(short="-r", help="accepted where there is nothing to sweep"),
    "--config-dir": Option(
        short="-cd",
        help="looks for more of all groups in a folder of yours",
        example="a folder, as in --config-dir conf_mine",
        again=f"; more folders: {_MORE}",
    ),
    "--config-name": Option(
        short="-cn",
        help="takes the defaults of every run from a file of yours",
        example="a name, as in --config-name mine",
    ),
    "--config-path": Option(
        short="-cp",
        help="refused: effbench's own folder is always looked through; --config-dir adds yours",
        example="a folder; --config-dir conf_mine adds one of yours",
    ),
    "--cfg": Option(
        short="-c",
        help="prints the configuration (job), Hydra's node (hydra) or both (all), and runs nothing",
        example="job, hydra or all",
        choices=CFG,
    ),
    "--resolve": Option(short=None, help="with --cfg: references such as ${train.lr} resolved"),
    "--package": Option(short="-p", help="with --cfg: one node, as in -p train", example="a node, as in -p train"),
    "--info": Option(
        short="-i",
        help=f"prints what Hydra found ({', '.join(INFO)}), and runs nothing",
        example=f"one of {', '.join(INFO)}",
        choices=INFO,
        default="all",
    ),
    "--shell-completion": Option(
        short="-sc", help='install=bash (zsh, fish), as in eval "$(effbench sweep -sc install=bash)"; or uninstall='
    ),
    "--format": Option(
        short=None,
        help="the form of the answer on stdout (table, csv, json, markdown); all else goes to stderr",
        example="table, csv, json or markdown",
        choices=("table", "csv", "json", "markdown"),
    ),
    "--experimental-rerun": Option(
        short=None,
        help="refused: it would read a pickle; effbench replay run=<id> runs a tracked run again",
        example="a file; but effbench replay run=<id> runs a tracked run again",
    ),
}
SHORT = {option.short: name for name, option in OPTIONS.items() if option.short is not None}
PRINTING = ("--cfg", "--info", "--shell-completion")
"""Of these there can be one, for which nothing runs."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a command, by their long names."""

    values: Mapping[str, str]
    """What follows each; empty where nothing does."""
    overrides: tuple[str, ...]
    """The other arguments, in their order."""
    remembered: tuple[str, ...]
    """All arguments, in their order, but for those that change nothing: what a command is known by."""

    def __contains__(self, name: str) -> bool:
        """Whether an option is given."""
        return name in self.values


def read_options(arguments: Sequence[str], /) -> Options:
    """Return the options of a command and its other arguments. What follows `--` is no option.

    ValueError, in one clear line, for an option that there is not, one without its value or with one too many, and two
    that exclude each other.
    """
    values: dict[str, str] = {}
    overrides: list[str] = []
    remembered: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            overrides, remembered, waiting = [*overrides, *waiting], [*remembered, *waiting], []
        elif not argument.startswith("-"):
            overrides.append(argument)
            remembered.append(argument)
        else:
            before = len(waiting)
            name, value = _option(argument, waiting)
            if name in values and OPTIONS[name].example is not None:
                raise ValueError(f"{name} {value}: is given already ({values[name]}){OPTIONS[name].again}")
            taken = [value] if len(waiting) < before else []
            remembered += [] if name == "--multirun" else [argument, *taken]
            values[name] = value
    _check_together(values)
    return Options(values=values, overrides=tuple(overrides), remembered=tuple(remembered))


def _option(argument: str, waiting: list[str]) -> tuple[str, str]:
    """Return the long name of an option and its value, for which the next argument may be taken."""
    written, equals, value = argument.partition("=")
    name = _name_of(written, argument, waiting)
    option = OPTIONS[name]
    if option.example is None:
        if equals:
            raise ValueError(f"{argument}: takes no value; write {written}")
        return name, ""
    if not equals:
        follows = bool(waiting) and not waiting[0].startswith("-")
        if option.default is not None and not (follows and waiting[0] in option.choices):
            if not follows or "=" in waiting[0]:
                return name, option.default
        value = waiting.pop(0) if waiting else ""
    if not value.strip() or value.startswith("-"):
        raise ValueError(f"{written}: must be followed by {option.example}")
    if option.choices and value not in option.choices:
        near = difflib.get_close_matches(value, option.choices, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"{written} {value}: {hint}must be {option.example}")
    return name, value


def _name_of(written: str, argument: str, waiting: Sequence[str]) -> str:
    """Return the long name of an option: as it is, of its short form, or of its beginning where that is only its."""
    if written in OPTIONS:
        return written
    if written in SHORT:
        return SHORT[written]
    begun = [name for name in OPTIONS if len(written) > 3 and name.startswith(written)]
    if len(begun) == 1:
        return begun[0]
    if len(begun) > 1:
        raise ValueError(f"{written}: may be {' or '.join(begun)}")
    near = difflib.get_close_matches(written, [*OPTIONS, *SHORT], n=1, cutoff=0.85)
    if near:
        raise ValueError(f"{written}: there is no such option; did you mean {near[0]}?")
    key = argument.lstrip("-")
    if "=" not in key and waiting and not waiting[0].startswith(("-", "+")) and "=" not in waiting[0]:
        key = f"{key}={waiting[0]}"
    hint = f"keys have no dash: {key}" if "=" in key else f"there are {', '.join(OPTIONS)}"
    raise ValueError(f"{argument}: there is no such option; {hint}; see --help")


def _check_together(values: Mapping[str, str]) -> None:
    """Refuse options that exclude each other, or mean nothing alone."""
    if "--run" in values and "--multirun" in values:
        raise ValueError("--run --multirun: give one of them; every command is a sweep, and needs neither")
    asked = [name for name in PRINTING if name in values]
    if len(asked) > 1:
        raise ValueError(f"{' '.join(asked)}: give one of them")
    for name in ("--resolve", "--package"):
        if name in values and not {"--cfg", "--help"} & set(values):
            raise ValueError(
                f"{name}: goes with --cfg, as in --cfg job {name}{' train' if name == '--package' else ''}"
            )
    if "--config-path" in values:
        folder = values["--config-path"]
        raise ValueError(
            f"--config-path {folder}: effbench's own configuration is always looked through first; "
            f"--config-dir {folder} adds yours, and --config-name NAME the defaults of every run in its NAME.yaml"
        )
    if "--experimental-rerun" in values:
        raise ValueError(
            f"--experimental-rerun {values['--experimental-rerun']}: would read a pickle, which can run any code; "
            "effbench replay run=<id> runs a tracked run again"
        )


def options_help() -> str:
    """Return the lines of the help page."""
    names = {name: f"{name}, {option.short}" if option.short else name for name, option in OPTIONS.items()}
    return "\n".join(f"  {names[name]:<24} {option.help}" for name, option in OPTIONS.items())
