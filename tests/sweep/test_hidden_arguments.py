"""Passwords in arguments: the process begins anew without them, and still knows them."""

import json
import os
import sys

import pytest

from effbench.sweep import hidden_arguments
from effbench.sweep.hidden_arguments import VARIABLE, given_arguments, hide_arguments

GIVEN = ["+prune=0.5", "tracking.uri=http://me:hunter2@there", "data.root=s3://x?token=abcdef"]
SHOWN = ["+prune=0.5", "tracking.uri=http://me:***@there", "data.root=s3://x?token=***"]


@pytest.fixture
def begun(monkeypatch):
    """Return the list of what this process was begun anew as: (program, arguments, environment)."""
    calls = []
    monkeypatch.setattr(hidden_arguments.os, "execve", lambda *arguments: calls.append(arguments))
    monkeypatch.delenv(VARIABLE, raising=False)
    return calls


def test_the_process_begins_anew_with_what_may_be_seen(begun, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["a/__main__.py", *GIVEN])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-W", "ignore", "-m", "effbench.sweep", *GIVEN])
    hide_arguments()
    ((program, command, environment),) = begun
    assert program == sys.executable
    assert command == ["python", "-W", "ignore", "-m", "effbench.sweep", *SHOWN]
    assert {**os.environ, VARIABLE: environment[VARIABLE]} == environment
    monkeypatch.setenv(VARIABLE, environment[VARIABLE])
    monkeypatch.setattr(sys, "argv", ["a/__main__.py", *SHOWN])
    hide_arguments()
    assert len(begun) == 1
    assert given_arguments(SHOWN) == GIVEN
    assert VARIABLE not in os.environ  # workers do not get it


def test_without_a_secret_nothing_begins_anew(begun, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["a/__main__.py", "+prune=0.5", "tracking.uri=http://there"])
    hide_arguments()
    assert begun == []
    assert given_arguments(["+prune=0.5"]) == ["+prune=0.5"]


def test_what_is_hidden_is_known_by_how_it_is_shown(monkeypatch):
    monkeypatch.setenv(VARIABLE, json.dumps({SHOWN[1]: GIVEN[1]}))
    assert given_arguments([SHOWN[1], "x"]) == [GIVEN[1], "x"]
