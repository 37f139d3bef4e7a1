"""Hydra's own keys: what each does here, or what is written instead."""

import os

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.hydra_keys import HydraSettings, environment_kept, hydra_settings, is_hydras_own

TAKEN = {
    "hydra.mode=MULTIRUN prune=0.1,0.5": (),
    "hydra.mode=RUN prune=0.1": (),
    "hydra.output_subdir=null": (),
    "hydra.job.chdir=false": (),
    "hydra.job.chdir=null": (),
    "hydra.sweeper.max_batch_size=null": (),
    "hydra/sweeper=basic": (),
    "hydra/env=default": (),
    "hydra/help=default": (),
    "hydra.verbose=true": (),
    "hydra/job_logging=default": (),
    "hydra/job_logging=none": (),
    "hydra/job_logging=disabled": ("job_logging",),
    "hydra/job_logging=stdout": ("job_logging",),
    "hydra/hydra_logging=disabled": ("hydra_logging",),
    "hydra.job_logging.root.level=DEBUG": ("job_logging",),
    "+hydra.callbacks.mine._target_=builtins.dict": (),
    "hydra.callbacks.mine._target_=builtins.dict": (),
    "+hydra.callbacks={mine:{_target_:builtins.dict}}": (),
}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("text", TAKEN)
def test_keys_that_mean_here_what_they_mean_there(text):
    settings = read_command_line(text.split()).hydra
    assert settings.loggings == TAKEN[text]
    assert bool(settings.callbacks) == ("callbacks" in text)


REFUSED = {
    "hydra.run.dir=out": "hydra.run.dir=out: runs have no folders of their own: their files are in MLflow",
    "hydra.sweep.dir=out": "give store.root=out",
    "hydra.sweep.subdir=x": "every run is named by its point",
    "hydra.output_subdir=x": "null is what it is here",
    "hydra.job.name=x": "tracking.experiment=x names where they are logged",
    "hydra.job.chdir=true": "runs stay in the working folder",
    "hydra.job.num=3": "is the run's own to fill in",
    "hydra.runtime.cwd=x": "is Hydra's own to fill in",
    "hydra.overrides.task=[a]": "is Hydra's own to fill in",
    "hydra.sweeper.max_batch_size=2": "sweep.jobs=2 is how many runs go at once",
    "hydra.sweeper.n_trials=20": "every point of a sweep is run, in a grid; write the values out",
    "hydra/sweeper=optuna": "every point of a sweep is run, in a grid; write the values out",
    "hydra/sweeper=ax": "write the values out, as in prune=0.1,0.5,0.9",
    "hydra/job_logging=colorlog": "hydra/job_logging=colorlog: there is no such choice; known: default, disabled, none",
    "hydra/help=nope": "hydra/help=nope: there is no such choice",
    "hydra.help.app_name=mine": "--help is effbench's own page",
    "hydra/lancher=joblib": "did you mean hydra/launcher?",
    "hydra.jbo.name=x": "hydra.jbo.name: there is no such key; did you mean hydra.job.name?",
    "hydra.searchpth=[x]": "did you mean hydra.searchpath?",
    "hydra.verbose=true,false": "takes one value",
    "+hydra.callbacks.mine.x=1": "must be a class, as in +hydra.callbacks.mine._target_=my_module.MyCallback",
    "+hydra.callbacks.mine=x": "must be a class",
    "hydra.job.env_set.A=${nope}": "hydra",
    "hydra.sweeper.params=3": "must be keys and values, as in hydra.sweeper.params.prune=0.1,0.5",
    "hydra.sweeper.params.prune=interval(0,1)": "an interval is continuous",
    "hydra.sweeper.params.prne=0.1": "did you mean prune?",
}


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("text", REFUSED)
def test_keys_that_mean_nothing_here_are_refused_in_a_line_that_says_what_to_write(text):
    with pytest.raises(ValueError) as caught:
        read_command_line(text.split())
    assert REFUSED[text] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


PARAMS = {
    "hydra.sweeper.params.prune=0.1,0.5": {"prune": (0.1, 0.5)},
    "+hydra.sweeper.params.prune=0.1,0.5": {"prune": (0.1, 0.5)},
    "hydra.sweeper.params.prune='0.1,0.5'": {"prune": (0.1, 0.5)},
    'hydra.sweeper.params.prune="choice(0.1,0.5)"': {"prune": (0.1, 0.5)},
    "hydra.sweeper.params.prune=range(0.1,0.6,0.4)": {"prune": (0.1, 0.5)},
    "hydra.sweeper.params.prune=[0.1,0.5]": {"prune": (0.1, 0.5)},
    "hydra.sweeper.params.prune=0.5": {"prune": (0.5,)},
    "hydra.sweeper.params={prune:'0.1,0.5',bits:4}": {"prune": (0.1, 0.5), "bits": (4,)},
    "hydra.sweeper.params.prune=0.1 prune=0.5": {"prune": (0.5,)},
}


@pytest.mark.parametrize("text", PARAMS)
def test_the_sweepers_parameters_are_axes(text):
    assert read_command_line(text.split(" ")).axis_values == PARAMS[text]


def test_variables_of_runs_are_those_of_the_process_for_as_long_as_a_program_wants():
    before = dict(os.environ)
    with environment_kept():
        read_command_line(["hydra.job.env_set.MINE_OF_15=a b"])
        assert os.environ["MINE_OF_15"] == "a b"
        os.environ.pop("HOME", None)
    assert dict(os.environ) == before


def test_jobs_of_a_launcher_get_the_variables_and_the_logging_too():
    with environment_kept():
        arguments = ["hydra/launcher=joblib", "hydra.job.env_set.MINE_OF_15=3", "hydra/job_logging=disabled"]
        command = read_command_line([*arguments, "hydra.job.chdir=false"])
    assert command.launcher == (arguments[0], "++hydra.job.env_set.MINE_OF_15=3", arguments[2])


@pytest.mark.extended
def test_a_file_of_the_users_own_is_held_to_the_same(own_folder):
    own_folder(
        {
            "hydra/env/mine.yaml": "# @package hydra\njob: {env_set: {MINE_OF_15: '7'}}\n",
            "model/net.yaml": "_target_: a.b\n",
        }
    )
    own_folder({"hydra/env/bad.yaml": "# @package hydra\nsweep: {dir: out}\n"})
    with environment_kept():
        command = read_command_line(["-cd", "conf_mine", "hydra/env=mine"])
        assert command.hydra.environment == {"MINE_OF_15": "7"}
    with pytest.raises(ValueError, match=r"hydra\.sweep\.dir=out: runs have no folders"):
        read_command_line(["-cd", "conf_mine", "hydra/env=bad"])


def test_nothing_said_costs_nothing():
    assert hydra_settings([]) == HydraSettings()
    assert HydraSettings().environment == HydraSettings().callbacks == {}
    assert [
        is_hydras_own(key) for key in ("hydra.verbose", "hydra/env", "hydra/launcher", "hydra.launcher.x", "a")
    ] == [
        True,
        True,
        False,
        False,
        False,
    ]
