"""What the small doors have in common: help, version, arguments that are plain keys, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from effbench.checks.installed import what_to_activate
from effbench.run.interruption import INTERRUPTED, MESSAGE
from effbench.sweep.messages import log_to_stderr, say, version_line

FAILED, WRONG_INPUT = 1, 2


def pass_through(
    arguments: Sequence[str] | None, help_page: Callable[[], str], work: Callable[[Sequence[str]], int], /, *, into: str
) -> int:
    """Do what a door is for, and return the exit status; what can't be done is told in a line.

    arguments: None for those of the process. work: takes them and returns the status; a ValueError is wrong input.
    into: what an OSError without a name is about.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    status = answered(arguments, help_page)
    if status is not None:
        return status
    log_to_stderr()
    try:
        return work(arguments)
    except ValueError as error:
        say(error)
        return WRONG_INPUT
    except KeyboardInterrupt:
        say(MESSAGE)
        return INTERRUPTED
    except OSError as error:
        say(f"{error.filename or into}: can't be written ({error.strerror or error})")
        return FAILED


def passed_on(arguments: Sequence[str], prefixes: tuple[str, ...], /) -> tuple[list[str], list[str]]:
    """Return the arguments that begin so, which the configuration reads, and the others.

    >>> passed_on(["run=3", "engine.aot.freezing=false"], ("engine.",))
    (['engine.aot.freezing=false'], ['run=3'])
    """
    taken = [argument for argument in arguments if argument.lstrip("+").startswith(prefixes)]
    return taken, [argument for argument in arguments if argument not in taken]


def answered(arguments: Sequence[str], help_page: Callable[[], str], /) -> int | None:
    """Answer what asks for no work: --help, --version, a Python without the packages. None where there is work."""
    if {"-h", "--help"} & set(arguments):
        print(help_page())
        return 0
    if {"--version", "-V"} & set(arguments):
        print(version_line())
        return 0
    wrong = what_to_activate()
    if wrong is not None:
        say(wrong)
        return WRONG_INPUT
    return None


def read_keys(arguments: Sequence[str], defaults: Mapping[str, str], /, *, example: str) -> dict[str, str]:
    """Return the values of keys, of which `defaults` has all; `dry_run`, where it is one of them, is true or false.

    ValueError, in one line, for an argument that is none of them. example: an argument that is one, for messages.
    """
    from effbench.config.typed import unknown_name

    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        key = key.lstrip("+")
        if not equals or not value.strip():
            raise ValueError(f"{argument}: must be key=value, as in {example}; see --help")
        if key not in defaults:
            raise ValueError(unknown_name(key, defaults, "key"))
        if key in given:
            raise ValueError(f"{argument}: {key} is given already")
        given[key] = value
    keys = {**defaults, **given}
    if "dry_run" in keys:
        keys["dry_run"] = keys["dry_run"].lower()
        if keys["dry_run"] not in ("true", "false"):
            raise ValueError(f"dry_run={keys['dry_run']}: must be true or false")
    return keys
