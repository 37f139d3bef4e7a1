"""Processes that compute runs log as the command was told to."""

import json
import logging
import os

import pytest

from effbench.run import job_logging
from effbench.run.job_logging import VARIABLE, log_as, log_as_told

CONFIG = {
    "version": 1,
    "formatters": {"mine": {"format": "MINE %(message)s"}},
    "handlers": {"mine": {"class": "logging.StreamHandler", "formatter": "mine", "stream": "ext://sys.stdout"}},
    "loggers": {"of_15": {"level": "INFO", "handlers": ["mine"], "propagate": False}},
    "disable_existing_loggers": False,
}


@pytest.fixture
def ended(monkeypatch):
    """Return how often the server of processes was ended; loggers and the variable are as before afterwards."""
    calls = []
    monkeypatch.setattr(job_logging, "end_server", lambda: calls.append(1))
    monkeypatch.delenv(VARIABLE, raising=False)
    yield calls
    os.environ.pop(VARIABLE, None)
    logging.getLogger("of_15").handlers.clear()
    logging.getLogger("of_15").setLevel(logging.NOTSET)


def test_this_process_and_those_that_it_begins_log_that_way(ended, capsys):
    log_as(CONFIG, [])
    logging.getLogger("of_15").info("here")
    assert capsys.readouterr().out == "MINE here\n"
    assert ended == [1]
    logging.getLogger("of_15").handlers.clear()  # as in another process
    log_as_told()
    logging.getLogger("of_15").info("there")
    assert capsys.readouterr().out == "MINE there\n"


def test_loggers_can_be_made_to_tell_everything(ended):
    log_as(None, ["of_15"])
    assert logging.getLogger("of_15").level == logging.DEBUG
    assert json.loads(os.environ[VARIABLE]) == {"config": None, "verbose": ["of_15"]}


def test_untold_nothing_changes(ended):
    log_as_told()
    assert logging.getLogger("of_15").level == logging.NOTSET
    with pytest.raises(ValueError):
        log_as({"version": 7}, [])
    assert VARIABLE not in os.environ
