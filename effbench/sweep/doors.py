"""What the small doors (store, replay, new) have in common: help, version, and arguments that are plain keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from effbench.checks.installed import what_to_activate
from effbench.sweep.messages import say, version_line

WRONG_INPUT = 2


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
    """Return the values of keys, of which `defaults` has all; `dry_run` is true or false.

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
    keys["dry_run"] = keys["dry_run"].lower()
    if keys["dry_run"] not in ("true", "false"):
        raise ValueError(f"dry_run={keys['dry_run']}: must be true or false")
    return keys
