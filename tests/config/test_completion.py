"""What a line may go on with, and shells that ask for it: bash is driven, others at least take their script."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from effbench.config.completion import SHELLS, candidates, completion_text

FILES = {
    "model/my_net.yaml": "_target_: my.net\nwidth: 3\n",
    "axis/my_knob.yaml": "help: x\n",
    "experiment/my_study.yaml": "",
    "study/deep/one.yaml": "",
    "mine.yaml": "",
    "hydra/job_logging/mine.yaml": "version: 1\n",
}
DIR = "--config-dir conf_mine"
FOUND = {
    "model=lenet_": ["model=lenet_300_100", "model=lenet_5"],
    "model=lenet_5,small_c": ["model=lenet_5,small_cnn"],
    f"{DIR} model=my": ["model=my_net"],
    f"model=my {DIR} model=my_net model.w": ["model.width="],
    f"{DIR} +my_": ["+my_knob="],
    f"{DIR} +experiment=": ["+experiment=my_study"],
    "-cd conf_mine experiment=my": ["experiment=my_study"],
    f"{DIR} stu": ["study="],
    f"{DIR} +study=d": ["+study=deep/one"],
    f"{DIR} -cn ": ["mine"],
    f"{DIR} --config-name=m": ["--config-name=mine"],
    f"{DIR} hydra/job_logging=m": ["hydra/job_logging=mine"],
    "hydra/launcher=job": ["hydra/launcher=joblib"],
    "hydra/l": ["hydra/launcher="],
    "+prune_b": ["+prune_blocks="],
    "prune_b": ["prune_blocks="],
    "~prune_b": ["~prune_blocks"],
    "pooling=e": ["pooling=early", "pooling=even"],
    "train.la": ["train.label_smoothing=", "train.layout="],
    "++train.la": ["++train.label_smoothing=", "++train.layout="],
    "train/opt": ["train/optimizer="],
    "train/optimizer=adam": ["train/optimizer=adam", "train/optimizer=adamw"],
    "train.optimizer=rms": ["train.optimizer=rmsprop"],
    "stage.prune.cr": ["stage.prune.criterion="],
    "tolerance=": ["tolerance=0.02"],
    "task=seg": ["task=segmentation"],
    "engine=": [
        f"engine={path.stem}" for path in sorted((Path(__file__).parents[2] / "conf" / "engine").glob("*.yaml"))
    ],
    "--mul": ["--multirun"],
    "--cfg ": ["job", "hydra", "all"],
    "--cfg=j": ["--cfg=job"],
    "+prune=0.1 --info defaults": ["defaults", "defaults-tree"],
    "--cfg job -p trai": ["train"],
    "-sc install=": ["install=bash", "install=fish", "install=zsh"],
    "--config-dir conf": ["conf_mine/"],
    "data.root=./conf_mine/mi": ["data.root=./conf_mine/mine.yaml"],
    "data=./conf": ["data=./conf_mine/"],
    "nope=": [],
    "nope": [],
    "model=nope": [],
}


@pytest.mark.matrix(fast=10)
@pytest.mark.parametrize("text", FOUND)
def test_every_part_of_a_command_is_completed(own_folder, text):
    own_folder(FILES)
    for program in ("effbench sweep", "python -m effbench.sweep", "/there/python3 -m effbench.sweep"):
        found = candidates(f"{program} {text}")
        assert sorted(found) == sorted(FOUND[text])


def test_everything_that_a_command_begins_with_is_offered(own_folder):
    own_folder(FILES)
    found = candidates("effbench sweep ")
    assert {"model=", "data=", "prune=", "tolerance=", "train.", "stage.", "engine="} <= set(found)
    assert {"--cfg", "-m", "-cd", "--config-dir", "--shell-completion"} <= set(candidates("effbench sweep -"))


UNFINISHED = (
    *("", "effbench", "effbench sweep --config-dir nope model=", "effbench sweep 'a b", "effbench sweep train..x"),
    *(
        "effbench sweep -cd -cn x model=",
        "effbench sweep --nope model=",
        "effbench sweep model=lenet_5 model=lenet_5 tra",
    ),
)


@pytest.mark.parametrize("line", UNFINISHED)
def test_a_line_that_is_wrong_or_not_yet_whole_is_no_error(line):
    assert isinstance(candidates(line), list)


WRONG = {
    "install=bsh": "did you mean bash?",
    "install=": "there is no such shell",
    "": "must be followed by install=, uninstall= or query=",
    "instal=bash": "must be followed by install=",
    "install=bash query=bash": "must be followed by install=",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_no_shell_asks_for_is_refused(text):
    with pytest.raises(ValueError) as caught:
        completion_text(text.split())
    assert WRONG[text] in str(caught.value)


DRIVE = r"""
eval "$(python -m effbench.sweep -sc install=bash)"
ask() {
    COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
    read -ra COMP_WORDS <<< "$(sed 's/\([=:]\)/ \1 /g' <<< "$1")"   # as readline splits it
    [[ $1 == *[=:\ ] ]] && COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _effbench_complete
    echo "${COMPREPLY[*]}"
}
ask 'effbench sw'
ask 'effbench sweep model=lenet_'
ask 'python -m effb'
ask 'python -m effbench.sweep +prune_b'
ask 'python other.py a'
complete -p effbench
eval "$(python -m effbench.sweep -sc uninstall=bash)"
complete -p
"""


@pytest.mark.extended
def test_a_real_bash_completes_both_ways_to_call_it(own_folder, tmp_path):
    own_folder(FILES)
    (tmp_path / "bin").mkdir()
    for name, module in {"python": "", "effbench": "-m effbench.cli"}.items():
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": root}
    done = subprocess.run(["bash", "--norc", "-c", DRIVE], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "sweep",
        "lenet_300_100 lenet_5",
        "effbench.sweep",
        "+prune_blocks=",
        "",
        "complete -o default -F _effbench_complete effbench",
    ]


@pytest.mark.extended
def test_an_answer_needs_neither_torch_nor_a_composition():
    program = (
        "import sys; from effbench.sweep.__main__ import main; main(['-sc', 'query=bash'])\n"
        "print([name for name in ('torch', 'mlflow', 'pandas') if name in sys.modules])"
    )
    environment = {**os.environ, "COMP_LINE": "effbench sweep train.la", "COMP_POINT": "23"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.splitlines()[:-1] == ["train.label_smoothing=", "train.layout="]
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_every_shell_that_is_here_takes_its_script(shell, action):
    script = completion_text([f"{action}={shell}"])
    assert "effbench" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
