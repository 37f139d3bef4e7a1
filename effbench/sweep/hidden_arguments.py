"""Passwords kept out of the command line that every user of a machine can read, as in `ps`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from effbench.checks.secrets import hide_in_uris

VARIABLE = "EFFBENCH_HIDDEN_ARGUMENTS"
"""Holds the arguments with secrets, by how they stand on the command line: only the user's own processes see it."""


def hide_arguments() -> None:
    """Begin this process anew with *** for the secrets in its arguments, where there are some.

    To be called first of all: nothing that has begun survives it.
    """
    hidden = {shown: argument for argument in sys.argv[1:] if (shown := hide_in_uris(argument)) != argument}
    if not hidden or os.name != "posix" or VARIABLE in os.environ:
        return
    n_arguments = len(sys.argv) - 1
    options = sys.orig_argv[: len(sys.orig_argv) - n_arguments]
    command = [*options, *(hide_in_uris(argument) for argument in sys.argv[1:])]
    os.execve(sys.executable, command, {**os.environ, VARIABLE: json.dumps(hidden)})


def given_arguments(arguments: Sequence[str], /) -> list[str]:
    """Return the arguments as they were given; the processes that this one begins are not told of them."""
    hidden: dict[str, str] = json.loads(os.environ.pop(VARIABLE, "{}"))
    return [hidden.get(argument, argument) for argument in arguments]
