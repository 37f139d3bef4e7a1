"""The lines that a Hydra user types by habit: each works, or is refused in one line that says what to write instead."""

import os
import textwrap
from importlib.metadata import version

import pytest

from effbench.config.hydra_keys import environment_kept
from effbench.sweep.__main__ import main

CONF = {
    "model/my_net.yaml": "_target_: my_nets_of_15.net\n",
    "axis/my_knob.yaml": """\
        help: units
        type: int
        minimum: 1
        neutral: 8
        reads: network
        target: units
        moves: [size_bytes]
        realised: {bytes: removed}
        example: "2,4"
        """,
    "experiment/my_study.yaml": """\
        # @package _global_
        defaults: [{override /model: lenet_5}, _self_]
        prune: [0.1, 0.5, 0.9]
        train: {epochs: 3}
        """,
    "experiment/typo.yaml": "# @package _global_\nprun: [0.1]\n",
    "experiment/launched.yaml": "# @package _global_\ndefaults: [{override /hydra/launcher: joblib}]\nprune: 0.5\n",
    "study/mine.yaml": "# @package _global_\nbits: [8, 4]\n",
    "mine.yaml": "defaults: [config, _self_]\ntolerance: 0.07\nhydra: {sweeper: {params: {prune: '0.1,0.5'}}}\n",
    "typo.yaml": "defaults: [config, _self_]\ntolerence: 0.07\n",
    "hydra/job_logging/mine.yaml": "version: 1\nroot: {level: INFO}\ndisable_existing_loggers: false\n",
}
CODE = """
import logging, os
from omegaconf import OmegaConf
from hydra.experimental.callback import Callback
from torch import nn

OmegaConf.register_new_resolver("half_of_15", lambda value: value / 2, replace=True)

class Mine(Callback):
    def on_multirun_start(self, config, **kwargs):
        print("told: start", config.prune)
    def on_job_end(self, config, job_return, **kwargs):
        print("told: run", config.prune, job_return.status.name)
    def on_multirun_end(self, config, **kwargs):
        print("told: end")

def net(num_classes, in_channels, input_side, units=8):
    logging.getLogger("nets").info("a net, MINE_OF_15=%s", os.environ.get("MINE_OF_15"))
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * input_side**2, units), nn.Linear(units, num_classes))
"""
D = "-cd conf_mine"
SHOWN = "--cfg job"
PRINTED = {
    "-m +prune=0.1,0.5 --cfg job": "prune:\n- 0.1\n- 0.5\n",
    "--multirun --cfg job -p tolerance": "0.02",
    "--run prune=0.1 --cfg job -p prune": "0.1",
    "-r --cfg job -p seed": "0",
    "+prune=0.5 -c job": "prune: 0.5",
    "--cfg hydra": "hydra:\n  run:",
    "--cfg all prune=0.5": "hydra:\n  run:",
    "--cfg job --resolve -p finetune": "batch_size: 64",
    "--cfg job --package train": "# @package train\nepochs: null",
    "--info": "Installed Hydra Plugins",
    "--info config prune=0.5": "prune: 0.5",
    "-i defaults": "Defaults List",
    "-i defaults-tree": "Defaults Tree",
    "-i plugins": "BasicLauncher",
    f"-i searchpath {D}": "command-line",
    f"{D} {SHOWN} model=my_net -p model": "_target_: my_nets_of_15.net",
    f"{SHOWN} --config-dir=conf_mine -p my_knob my_knob=2,4": "- 2\n- 4",
    f"{D} --config-name mine {SHOWN}": "prune:\n- 0.1\n- 0.5\n",
    f"{SHOWN} -cn=mine -p tolerance {D}": "0.07",
    "--hydra-help": "hydra/job_logging: default",
    "--help": "--shell-completion, -sc",
    f"-h {D}": "my_study",
    "--version": f"effbench {version('effbench')}",
    "-sc install=bash": "complete -o default -F",
    "-sc install=zsh": "compdef",
    "--shell-completion install=fish": "complete -c",
    "-sc uninstall=bash": "unset -f",
    f"hydra.output_subdir=null hydra.job.chdir=false hydra.mode=MULTIRUN {SHOWN} -p seed": "0",
    "hydra.verbose=true --cfg hydra": "verbose: true",
    f"hydra/sweeper=basic hydra/help=default hydra/env=default {SHOWN} -p seed": "0",
    f"hydra.sweeper.params.prune=0.1,0.5 {SHOWN}": "prune:\n- 0.1\n- 0.5\n",
    f"+hydra.sweeper.params.prune='0.1,0.5' {SHOWN}": "prune:\n- 0.1\n- 0.5\n",
    f"hydra.searchpath=[file://conf_mine] model=my_net {SHOWN} -p model": "my_nets_of_15.net",
    "+hydra.callbacks.mine._target_=my_nets_of_15.Mine --cfg hydra -p hydra.callbacks": "my_nets_of_15.Mine",
    "hydra/job_logging=disabled hydra/hydra_logging=none --cfg hydra -p hydra.job_logging": "level: ERROR",
    f"{D} hydra/job_logging=mine --cfg hydra -p hydra.job_logging": "level: INFO",
    "hydra.job.env_set.MINE_OF_15=7 --cfg hydra -p hydra.job": "MINE_OF_15: '7'",
    f"{D} +experiment=my_study {SHOWN}": "prune:\n- 0.1\n- 0.5\n- 0.9\n",
    f"{D} experiment=my_study prune=0.3 {SHOWN} -p prune": "0.3",
    f"{D} +experiment=my_study ~prune {SHOWN} -p model": "lenet_5",
    f"{D} +study=mine {SHOWN} -p bits": "- 8\n- 4",
    f"{D} +experiment=launched --cfg hydra -p hydra.launcher": "JoblibLauncher",
    f"prune=range(0.1,0.9,0.2) {SHOWN} -p prune": "- 0.1\n- 0.3\n- 0.5\n- 0.7",
    f"bits=range(2,4) {SHOWN} -p bits": "- 2\n- 3",
    f"prune=choice(0.1,0.5) {SHOWN} -p prune": "- 0.1\n- 0.5",
    f"prune=sort(0.5,0.1) {SHOWN} -p prune": "- 0.1\n- 0.5",
    f"bits=shuffle(4,4) {SHOWN} -p bits": "4",
    f"bits=tag(a,choice(8,4)) {SHOWN} -p bits": "- 8\n- 4",
    f"bits=int(4.2) prune=float(0) {SHOWN} -p bits": "4",
    f"model=glob(lenet*) {SHOWN}": "# the first of 2 configurations: model=lenet_300_100,lenet_5",
    f"model=glob(lenet*,exclude=lenet_5) {SHOWN} -p model": "_target_: effbench.models.lenet_300_100",
    f"pooling=glob(e*) {SHOWN} -p pooling": "- early\n- even",
    f"train.checkpoint=null {SHOWN} -p train.checkpoint": "null",
    f"store.root=${{oc.env:HOME}} {SHOWN} --resolve -p store.root": os.path.expanduser("~"),
    f"prune=${{oc.env:NOPE_OF_15,0.3}} {SHOWN} -p prune": "0.3",
    f"imports=my_nets_of_15 prune=${{half_of_15:1}} {SHOWN} -p prune": "0.5",
    f"data.root=a=b {SHOWN} -p data.root": "a=b",
    f"data.root=photos(1) {SHOWN} -p data.root": "photos(1)",
    f"stage.quantize.layers={{conv1:8}} {SHOWN} -p stage.quantize.layers": "conv1: 8",
    f"{SHOWN} -p prune -- prune=0.5": "0.5",
}
"""Exit status 0, and what is printed among other things."""
REFUSED = {
    "--run prune=0.1,0.5": "--run: asks for one run, and 2 are swept",
    "-r -m": "give one of them",
    "--config-path conf": "--config-dir conf adds yours",
    "-cp=conf": "--config-dir conf adds yours",
    "--experimental-rerun x.pickle": "effbench replay run=<id>",
    "--resolve": "goes with --cfg",
    "-p train": "goes with --cfg",
    "--cfg": "must be followed by job, hydra or all",
    "--cfg jobs": "did you mean job?",
    "--info default": "did you mean defaults?",
    "--config-dir": "must be followed by a folder",
    "--multirn": "did you mean --multirun?",
    "--prune=0.5": "keys have no dash: prune=0.5",
    "-sc": "must be followed by install=",
    "-sc install=csh": "there is no such shell",
    "hydra.sweep.dir=out": "give store.root=out",
    "hydra.run.dir=out": "give store.root=out",
    "hydra.sweep.subdir=x": "named by its point",
    "hydra.output_subdir=x": "--cfg job",
    "hydra.job.name=x": "tracking.experiment=x",
    "hydra.job.chdir=true": "runs stay in the working folder",
    "hydra.mode=RUN prune=0.1,0.5": "leave it out, or write --multirun",
    "hydra/sweeper=optuna": "write the values out",
    "hydra.sweeper.max_batch_size=4": "sweep.jobs=4",
    "hydra/job_logging=colorlog": "known: default, disabled, none, stdout",
    "hydra/help=mine": "there is no such choice",
    "+hydra.callbacks.mine._target_=my_nets_of_15.Nope": "can't be made",
    "prune=interval(0,1)": "an interval is continuous",
    "tolerance=glob(*)": "write the values out",
    "bits=json_str(3)": "not in Hydra 1.3",
    "train.augment=extend_list(crop_flip)": "write the whole list",
    "~prune": "leave an axis out",
    "~prune=0.5": "leave an axis out",
    "~model": "give it another value",
    "model@there=lenet_5": "it must be key=value, as in model=lenet_5",
    "+model@there=lenet_5": "it must be key=value, as in model=lenet_5",
    "prune@there=0.5": "as in prune=0.5",
    "train.epochs=???": "train.epochs: must be given",
    "prune=null": "must be a number",
    "model.name=a=b": "quote a text with such characters",
    "prune={a:1}": "must be a number",
    "store.root=${oc.env:NOPE_OF_15}": "NOPE_OF_15",
    "prune=${nope:1}": "Unsupported interpolation type nope",
    "imports=nope_of_15": "can't be imported",
    f"{D} +experiment=my_stud": "did you mean experiment=my_study? known in conf_mine/experiment",
    f"{D} +experiment=my_study,typo": "+experiment=[my_study,typo]",
    f"{D} +experiment=typo": "conf_mine/experiment/typo.yaml: prun: there is no such key; did you mean prune?",
    f"{D} -cn typo": "conf_mine/typo.yaml: tolerence: there is no such key; did you mean tolerance?",
    f"{D} my_knb=2": "did you mean my_knob?",
    f"{D} model=my_ent": "did you mean model=my_net?",
    "+study=mine": "as in --config-dir conf_mine",
}
"""Exit status 2, and what the one line on stderr says."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with a user's configuration and code."""
    folder = tmp_path_factory.mktemp("habits")
    for path, text in CONF.items():
        (folder / "conf_mine" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "conf_mine" / path).write_text(textwrap.dedent(text))
    (folder / "my_nets_of_15.py").write_text(CODE)
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    with environment_kept():
        yield place


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("line", PRINTED)
def test_what_works_prints_what_is_asked_for_and_runs_nothing(here, capsys, line):
    before = sorted(here.iterdir())
    assert main(line.split(" ")) == 0
    printed = capsys.readouterr()
    assert PRINTED[line] in printed.out
    assert printed.err == ""
    assert [path for path in sorted(here.iterdir()) if path.name != "__pycache__"] == [
        path for path in before if path.name != "__pycache__"
    ]


@pytest.mark.matrix(fast=4)
@pytest.mark.parametrize("line", REFUSED)
def test_what_does_not_is_refused_in_one_line_that_says_what_to_write(here, capsys, line):
    assert main(line.split(" ")) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert REFUSED[line] in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not (here / ".effbench").exists()


QUICK = "train.epochs=1 finetune.epochs=0 train.fraction=0.1 measure.seconds=0.02 measure.disturbed=keep"


@pytest.mark.waiting
def test_callbacks_logging_and_variables_reach_the_runs_and_no_answer_is_kept_from_them(folder, place):
    """One real sweep in workers, and the same command once more: nothing is computed, and callbacks are told again."""
    code = {"PYTHONPATH": os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])}
    line = (
        f"-m -cd {place / 'conf_mine'} model=my_net +prune=0.5 {QUICK} +hydra.callbacks.m._target_=my_nets_of_15.Mine "
        "hydra/job_logging=stdout hydra.job.env_set.MINE_OF_15=7"
    )
    for is_again in (False, True):
        done = folder.run(line, env=code)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        told = [line for line in lines if line.startswith("told: ")]
        assert told == ["told: start 0.5", "told: run 0 COMPLETED", "told: run 0.5 COMPLETED", "told: end"]
        assert ("a net, MINE_OF_15=7" in lines) or is_again
        assert not (folder.path / ".effbench" / "entries" / "answers").exists()


@pytest.mark.extended
def test_a_command_that_prints_is_never_answered_from_the_store_and_multirun_is_the_same_command(folder, sweep):
    assert sweep(f"+bits=4 {QUICK}", quick=False)[0] == 0
    status, answer, _ = sweep(f"+bits=4 {QUICK}", quick=False)
    assert sweep(f"-m +bits=4 {QUICK}", quick=False) == (0, answer, "")
    status, out, _ = sweep(f"+bits=4 {QUICK} --cfg job", quick=False)
    assert (status, "bits: 4" in out, out == answer) == (0, True, False)
