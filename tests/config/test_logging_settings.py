"""hydra/job_logging, hydra/hydra_logging, hydra.verbose: handed to logging, resolved, for all processes."""

import os

import pytest

from effbench.config import logging_settings
from effbench.config.command_line import read_command_line
from effbench.config.logging_settings import configure_logging

OWN = """\
version: 1
handlers:
  file: {class: logging.FileHandler, filename: "${hydra.runtime.output_dir}/${hydra.job.name}.log"}
root: {level: INFO, handlers: [file]}
disable_existing_loggers: false
"""


@pytest.fixture
def asked(own_folder, monkeypatch):
    """Return what logging is asked for by a command: a configuration and verbose loggers, None where it is left."""
    own_folder({"hydra/job_logging/mine.yaml": OWN, "hydra/hydra_logging/mine.yaml": OWN})
    found = []
    monkeypatch.setattr(logging_settings, "log_as", lambda config, verbose: found.append((config, verbose)))

    def ask(text):
        found.clear()
        configure_logging(read_command_line(["-cd", "conf_mine", *text.split()]).hydra)
        return found[0] if found else None

    return ask


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("text", ["", "hydra/job_logging=default", "hydra/hydra_logging=none", "hydra.verbose=false"])
def test_what_is_effbenchs_own_is_left(asked, text):
    assert asked(text) is None


@pytest.mark.extended
@pytest.mark.parametrize("group", ["job_logging", "hydra_logging"])
def test_a_users_own_is_resolved_with_the_working_folder_for_hydras_output(asked, group):
    config, verbose = asked(f"hydra/{group}=mine")
    assert config["handlers"]["file"]["filename"] == os.path.join(os.getcwd(), "effbench.log")
    assert verbose == []


@pytest.mark.extended
def test_hydras_own_are_taken_too_and_single_keys(asked):
    assert asked("hydra/job_logging=disabled")[0]["root"] == {"level": "ERROR"}
    assert asked("hydra/job_logging=stdout hydra.job_logging.root.level=WARNING")[0]["root"]["level"] == "WARNING"
    assert asked("hydra.verbose=true") == (None, [""])
    assert asked("hydra.verbose=effbench") == (None, ["effbench"])
    assert asked("hydra.verbose=[a,b]") == (None, ["a", "b"])


@pytest.mark.extended
def test_what_logging_does_not_take_is_refused_in_a_line(own_folder):
    own_folder({"hydra/job_logging/bad.yaml": OWN.replace("logging.FileHandler", "nope.Handler")})
    own_folder({"hydra/job_logging/worse.yaml": OWN.replace("${hydra.job.name}", "${nope}")})
    for name, said in {"bad": "hydra/job_logging: ", "worse": "hydra.job_logging"}.items():
        with pytest.raises(ValueError) as caught:
            configure_logging(read_command_line(["-cd", "conf_mine", f"hydra/job_logging={name}"]).hydra)
        assert str(caught.value).startswith(said)
        assert len(str(caught.value).splitlines()) == 1
