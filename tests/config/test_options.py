"""Options that begin with a dash: every one of Hydra's own parser, wherever it stands, and what is refused."""

import pytest
from hydra._internal.utils import get_args_parser

from effbench.config.options import OPTIONS, options_help, read_options


def test_every_option_of_hydras_own_parser_is_known_by_both_of_its_names():
    for action in get_args_parser()._actions:
        names = [name for name in action.option_strings if name.startswith("--")]
        for name in names:
            assert name in OPTIONS
            assert [OPTIONS[name].short] == ([n for n in action.option_strings if n not in names] or [None])
            assert name in options_help()


READ = {
    "-m +prune=0.1": ({"--multirun": ""}, ["+prune=0.1"], ["+prune=0.1"]),
    "+prune=0.1 --multirun": ({"--multirun": ""}, ["+prune=0.1"], ["+prune=0.1"]),
    "--multi a=1": ({"--multirun": ""}, ["a=1"], ["a=1"]),
    "-r a=1": ({"--run": ""}, ["a=1"], ["-r", "a=1"]),
    "a=1 -c job b=2": ({"--cfg": "job"}, ["a=1", "b=2"], ["a=1", "-c", "job", "b=2"]),
    "--cfg=all -p train --resolve": (
        {"--cfg": "all", "--package": "train", "--resolve": ""},
        [],
        ["--cfg=all", "-p", "train", "--resolve"],
    ),
    "--info a=1": ({"--info": "all"}, ["a=1"], ["--info", "a=1"]),
    "-i defaults-tree a=1": ({"--info": "defaults-tree"}, ["a=1"], ["-i", "defaults-tree", "a=1"]),
    "a=1 --info": ({"--info": "all"}, ["a=1"], ["a=1", "--info"]),
    "-cd x -cn=y": ({"--config-dir": "x", "--config-name": "y"}, [], ["-cd", "x", "-cn=y"]),
    "-m -m": ({"--multirun": ""}, [], []),
    "-m -- a=1 -b": ({"--multirun": ""}, ["a=1", "-b"], ["a=1", "-b"]),
    "-sc install=bash": ({"--shell-completion": ""}, ["install=bash"], ["-sc", "install=bash"]),
    "~a": ({}, ["~a"], ["~a"]),
}


@pytest.mark.parametrize("text", READ)
def test_options_stand_anywhere_and_the_rest_keeps_its_order(text):
    options = read_options(text.split())
    assert (dict(options.values), list(options.overrides), list(options.remembered)) == READ[text]


WRONG = {
    "--multrun": "--multrun: there is no such option; did you mean --multirun?",
    "--prune=0.5": "--prune=0.5: there is no such option; keys have no dash: prune=0.5; see --help",
    "--prune 0.5": "keys have no dash: prune=0.5",
    "-x": "-x: there is no such option; there are --help, ",
    "--config": "--config: may be --config-dir or --config-name or --config-path",
    "--multirun=true": "--multirun=true: takes no value; write --multirun",
    "--cfg": "--cfg: must be followed by job, hydra or all",
    "--cfg --resolve": "--cfg: must be followed by job, hydra or all",
    "--cfg jb": "--cfg jb: did you mean job? must be job, hydra or all",
    "--info defauls": "--info defauls: did you mean defaults? must be one of all, config, defaults",
    "--info=x": "--info x: must be one of",
    "-p": "-p: must be followed by a node, as in -p train",
    "-cd": "-cd: must be followed by a folder",
    "--config-name": "--config-name: must be followed by a name",
    "--cfg job --cfg all": "--cfg all: is given already (job)",
    "-r -m": "--run --multirun: give one of them",
    "--cfg job --info": "--cfg --info: give one of them",
    "--resolve": "--resolve: goes with --cfg, as in --cfg job --resolve",
    "-p train": "--package: goes with --cfg, as in --cfg job --package train",
    "-cp conf": "--config-path conf: effbench's own configuration is always looked through first; --config-dir conf",
    "--experimental-rerun x.pkl": "effbench replay run=<id> runs a tracked run again",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_none_is_refused_in_one_line(text):
    with pytest.raises(ValueError) as caught:
        read_options(text.split())
    assert WRONG[text] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
