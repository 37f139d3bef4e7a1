"""The defaults of every run, from a file of the user's: --config-name."""

import os

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.hydra_keys import environment_kept

BUILT = "defaults:\n- config\n- _self_\n"


@pytest.fixture
def mine(own_folder):
    """Return what reads a command with a file of defaults of this content."""

    def read(text, *arguments):
        own_folder({"mine.yaml": text})
        return read_command_line(["--config-dir", "conf_mine", "--config-name", "mine", *arguments])

    return read


@pytest.mark.extended
def test_values_are_the_defaults_of_every_run_and_the_command_goes_before_them(mine):
    text = f"{BUILT}tolerance: 0.1\nseed: [0, 1]\nmeasure: {{seconds: 0.5}}\nmodel: {{kernel: 5}}\n"
    command = mine(text, "measure.threads=2")
    node = command.configurations[0].node
    assert (node["tolerance"], node["model"]["kernel"], command.seeds) == (0.1, 5, (0, 1))
    assert (node["measure"]["seconds"], node["measure"]["threads"]) == (0.5, 2)
    assert mine(text, "tolerance=0.3").configurations[0].node["tolerance"] == 0.3


@pytest.mark.extended
def test_so_are_choices_and_a_task_brings_what_the_file_does_not_name(mine):
    def choices(overrides, *arguments):
        (composed,) = mine(BUILT + "".join(f"- override {text}\n" for text in overrides), *arguments).configurations
        return composed.choices

    chosen = choices(["model: lenet_5", "recipe: distill"])
    assert (chosen["model"], chosen["recipe"], chosen["data"]) == ("lenet_5", "distill", "digits")
    assert choices(["/model: lenet_5"], "model=lenet_300_100")["model"] == "lenet_300_100"
    assert choices(["task: segmentation"])["model"] == "small_segmenter"
    assert choices(["task: segmentation", "model: small_cnn"])["model"] == "small_cnn"
    assert choices(["model: lenet_5"], "task=segmentation")["data"] == "scenes"


@pytest.mark.extended
def test_what_it_says_of_hydra_holds(mine):
    text = (
        f"{BUILT}- experiment: null\n- override hydra/launcher: joblib\n"
        "hydra: {launcher: {n_jobs: 2}, sweeper: {params: {prune: '0.1,0.5'}}, job: {env_set: {MINE_OF_15: 3}}}\n"
    )
    with environment_kept():
        command = mine(text)
        assert command.axis_values == {"prune": (0.1, 0.5)}
        assert command.launcher[:2] == ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
        assert os.environ["MINE_OF_15"] == "3"
        assert mine(text, "prune=0.7").axis_values == {"prune": (0.7,)}
        assert mine(text, "~prune", "~hydra/launcher", "~hydra.launcher").axis_values == {}
    assert "MINE_OF_15" not in os.environ


WRONG = {
    "tolerance: 0.1\n": "does not build on effbench's defaults; begin it with defaults: [config, _self_]",
    "defaults: [{model: lenet_5}, _self_]\n": "does not build on effbench's defaults",
    f"{BUILT}tolerence: 0.1\n": "tolerence: there is no such key; did you mean tolerance?",
    f"{BUILT}measure: {{secnds: 1}}\n": "measure.secnds: there is no such key; did you mean measure.seconds?",
    f"{BUILT}train: {{epohcs: 1}}\n": "train.epohcs: there is no such key; did you mean train.epochs?",
    f"{BUILT}prune: [0.5]\n": "prune is an axis; sweep it on the command line",
    f"{BUILT}stage: {{prune: {{criterion: random}}}}\n": "stage: options are given on the command line",
    f"{BUILT}engine: {{eager: {{device: cpu}}}}\n": "engine: options are given on the command line",
    f"{BUILT}- experiment: x\n": "experiment: is chosen on the command line, as in +experiment=…",
    f"{BUILT}hydra: {{job: {{name: x}}}}\n": "hydra.job.name=x: runs are named by their points",
    f"{BUILT}imports: nope_of_mine\n": "imports=nope_of_mine: can't be imported",
    f"{BUILT}- override model: nope\n": "Could not find 'model/nope'",
    "defaults: [\n": "conf_mine/mine.yaml, line 2: is no YAML",
}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("text", WRONG)
def test_what_has_no_effect_there_is_refused(mine, text):
    with pytest.raises(ValueError) as caught:
        mine(text)
    assert WRONG[text] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(("conf_mine/mine.yaml", "In 'config'"))
