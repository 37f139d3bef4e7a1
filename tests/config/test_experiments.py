"""Files that say what a sweep is, as Hydra's users write them: what they set, choose, sweep, and build on."""

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.read import read_sweep

FILES = {
    "experiment/base.yaml": "# @package _global_\ntolerance: 0.05\nfinetune: {epochs: 1}\n",
    "experiment/mine.yaml": """\
        # to run: python -m effbench.sweep +experiment=mine
        # @package _global_
        defaults:
          - override /model: lenet_5
          - override /train: sgd_cosine
          - override /optimizer: adam
          - base
          - optional nothing_there
          - _self_
        prune: [0.1, 0.5, 0.9]
        seed: [0, 1]
        tolerance: 0.03
        train: {epochs: 2, lr: "${finetune.lr}"}
        stage: {prune: {criterion: random}}
        measure: {batch: [1, 8]}
        """,
    "experiment/swept.yaml": "# @package _global_\ntrain: {lr: [0.1, 0.01]}\ncoder: [ans, none]\n",
    "experiment/early.yaml": "# @package _global_\ndefaults: [_self_, base]\ntolerance: 0.01\n",
    "experiment/short.yaml": "# @package _global_\ndefaults: [{override /model: resnet18}]\nmodel: {weights: none}\n",
    "experiment/vision/deep.yaml": "# @package train\nepochs: 4\n",
    "experiment/launched.yaml": """\
        # @package _global_
        defaults: [{override /hydra/launcher: joblib}]
        hydra: {launcher: {n_jobs: 2}, sweeper: {params: {prune: "0.1,0.5", +bits: "choice(8,4)"}}}
        """,
    "study/all.yaml": "# @package _global_\ndefaults: [/experiment/mine, _self_]\nprune: 0.7\nmodel: {kernel: 5}\n",
    "parts/quick.yaml": "epochs: 1\n",
    "study/parted.yaml": "# @package _global_\ndefaults: [{/parts@train: quick}]\nprune: 0.5\n",
}


@pytest.fixture
def read(own_folder):
    own_folder(FILES)
    return lambda text, **more: read_command_line([*"--config-dir conf_mine".split(), *text.split()])


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("written", ["+experiment=mine", "experiment=mine", "++experiment=mine", "experiment=[mine]"])
def test_a_file_sets_keys_chooses_members_and_its_lists_are_swept(read, written):
    command = read(written)
    assert command.axis_values == {"prune": (0.1, 0.5, 0.9)}
    assert command.seeds == (0, 1)
    (composed,) = command.configurations
    assert (composed.choices["model"], composed.choices["train"]) == ("lenet_5", "sgd_cosine")
    node = composed.node
    assert (node["tolerance"], node["train"]["epochs"], node["finetune"]["epochs"]) == (0.03, 2, 1)
    assert node["train"]["lr"] == "${finetune.lr}"
    assert node["train"]["optimizer"]["_target_"] == "torch.optim.Adam"
    assert node["stage"]["prune"]["criterion"] == "random"
    assert node["measure"]["batch"] == [1, 8]


@pytest.mark.extended
def test_it_is_the_command_that_would_have_been_written_out(read):
    command = "prune=0.1,0.5 model=lenet_5 seed=1 train.epochs=3 finetune.epochs=1 coder=ans"
    given = "# @package _global_\ndefaults: [{override /model: lenet_5}]\nprune: [0.1, 0.5]\nseed: 1\ncoder: ans\n"
    (path := __import__("pathlib").Path("conf_mine/experiment/same.yaml")).write_text(
        f"{given}train: {{epochs: 3}}\nfinetune: {{epochs: 1}}\n"
    )
    assert path.is_file()
    written, from_file = read_sweep(command.split()), read_sweep(["-cd", "conf_mine", "+experiment=same"])
    assert [point.key for point in from_file.plan.points] == [point.key for point in written.plan.points]
    assert from_file.plan.sweep_id == written.plan.sweep_id


@pytest.mark.extended
def test_the_command_goes_before_its_experiment_and_can_take_away_what_that_says(read):
    command = read("+experiment=mine prune=0.2 model=small_cnn train.epochs=7 ~seed")
    (composed,) = command.configurations
    assert (command.axis_values, command.seeds) == ({"prune": (0.2,)}, (0,))
    assert (composed.choices["model"], composed.node["train"]["epochs"]) == ("small_cnn", 7)
    assert read("+experiment=mine ~prune").axis_values == {}
    assert read("+experiment=mine ~prune=0.1,0.5,0.9").axis_values == {}


def test_lists_of_other_keys_are_swept_too(read):
    swept = [composed.swept for composed in read("+experiment=swept").configurations]
    assert swept == [{"train.lr": lr, "coder": coder} for lr in ("0.1", "0.01") for coder in ("ans", "none")]


@pytest.mark.extended
def test_files_build_on_others_wherever_they_stand(read):
    assert read("+experiment=early").configurations[0].node["tolerance"] == 0.05
    assert read("+experiment=[base,vision/deep]").configurations[0].node["train"]["epochs"] == 4
    (composed,) = (command := read("+study=all")).configurations
    assert (command.axis_values, composed.node["model"]["kernel"]) == ({"prune": (0.7,)}, 5)
    assert composed.choices["model"] == "lenet_5"
    assert read("+study=parted").configurations[0].node["train"]["epochs"] == 1
    assert read("+experiment=short").configurations[0].node["model"]["name"] == "resnet18"
    assert read("experiment=null").axis_values == {}


@pytest.mark.extended
def test_a_launcher_and_the_sweepers_parameters_in_a_file_are_honoured(read):
    command = read("+experiment=launched")
    assert command.launcher == ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert command.axis_values == {"prune": (0.1, 0.5), "bits": (8, 4)}
    assert read("+experiment=launched hydra/launcher=basic").launcher[-1] == "hydra/launcher=basic"


WRONG = {
    "prune: [0.1]\n": "x.yaml: must begin with the line # @package _global_",
    "# @package _global_\nprun: [0.1]\n": "x.yaml: prun: there is no such key; did you mean prune?",
    "# @package _global_\nprune: [7]\n": "x.yaml: prune=7: must be a number",
    "# @package _global_\ntrain: {epohs: 3}\n": "x.yaml: train.epohs: there is no such key; did you mean train.epochs?",
    "# @package _global_\nprune: {a: 1}\n": "x.yaml: prune={",
    "# @package _global_\ndefaults: [{/model: lenet_5}]\n": "x.yaml: defaults: /model: write override /model: lenet_5",
    "# @package _global_\ndefaults: [{override model: lenet_5}]\n": "x.yaml: defaults: override model: write ov",
    "# @package _global_\ndefaults: [{override /model: lenet}]\n": "did you mean model=lenet_5?",
    "# @package _global_\ndefaults: [{override /model@y: lenet_5}]\n": "write override /model",
    "# @package _global_\ndefaults: [nope]\n": "x.yaml: defaults: there is no nope.yaml in conf_mine",
    "# @package _global_\ndefaults: [x]\n": "x.yaml: builds on itself",
    "# @package _global_\ndefaults: x\n": "x.yaml: defaults must be a list",
    "# @package _global_\ndefaults: [3]\n": "x.yaml: defaults: 3 is no entry",
    "# @package _global_\ndefaults: [{overide /model: lenet_5}]\n": "is no entry; as in override /model: lenet_5",
    "# @package _global_\nhydra: {run: {dir: x}}\n": "x.yaml: hydra.run.dir=x: runs have no folders",
    "# @package _global_\nhydra: {jbo: {name: x}}\n": "x.yaml: hydra.jbo.name: there is no such key",
    "# @package _global_\nhydra: 3\n": "x.yaml: hydra=3: must be keys and values",
    "# @package _global_\nprune: [0.1\n": "x.yaml, line 3: is no YAML",
}


@pytest.mark.matrix(fast=8)
@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_in_a_file_is_told_with_its_name(own_folder, text):
    own_folder({"experiment/x.yaml": text})
    with pytest.raises(ValueError) as caught:
        read_command_line(["-cd", "conf_mine", "+experiment=x"])
    assert WRONG[text] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


REFUSED = {
    "+experiment=min": "experiment=min: there is no such choice; did you mean experiment=mine? known in conf_mine/exp",
    "+study=nope": "study=nope: there is no such choice; known in conf_mine/study: all, parted",
    "+experiment=mine,base": "give +experiment=mine and then +experiment=base, or all in one as +experiment=[",
    "experimnt=mine": "did you mean experiment?",
    "+experiment=mine ~prune=0.2": "~prune=0.2: is 0.1,0.5,0.9, and so is not taken away",
    "+experiment=mine ~bits": "~bits: a key can't be taken away that no experiment gives",
    "+experiment=mine prune=0.1 ~prune": "that the command gives itself (prune=0.1)",
    "hydra.sweeper.params.experiment=mine": "give it as an argument",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_names_none_is_refused_in_one_line(read, text):
    with pytest.raises(ValueError) as caught:
        read(text)
    assert REFUSED[text] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_without_a_folder_it_says_where_experiments_are():
    with pytest.raises(ValueError, match=r"give the folder that holds experiment/x\.yaml, as in --config-dir"):
        read_command_line(["+experiment=x"])
