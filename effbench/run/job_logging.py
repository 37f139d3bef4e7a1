"""How processes log that compute runs, where the command says it: told in a variable, which they inherit."""

from __future__ import annotations

import json
import logging
import logging.config
import os
from collections.abc import Mapping, Sequence
from typing import Any

from effbench.run.forkserver import end_server

VARIABLE = "EFFBENCH_JOB_LOGGING"
"""Holds what `logging.config.dictConfig` takes, or null, and the names of loggers that tell everything."""


def log_as(config: Mapping[str, Any] | None, verbose: Sequence[str], /) -> None:
    """Have this process log that way, and those that it begins to compute runs.

    config: what `logging.config.dictConfig` takes; None leaves logging as it is. verbose: loggers that tell everything,
    "" for all of them. ValueError for what is no such configuration.
    """
    _configure(config, verbose)
    os.environ[VARIABLE] = json.dumps({"config": config, "verbose": list(verbose)})
    end_server()  # one that has begun would not know


def log_as_told() -> None:
    """Have this process log as the one that began it was told to."""
    told = json.loads(os.environ.get(VARIABLE, "null"))
    if told is not None:
        _configure(told["config"], told["verbose"])


def _configure(config: Mapping[str, Any] | None, verbose: Sequence[str]) -> None:
    if config is not None:
        logging.config.dictConfig(dict(config))
    for name in verbose:
        logging.getLogger(name or None).setLevel(logging.DEBUG)
