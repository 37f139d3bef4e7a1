"""The configuration of a run makes that run again: the same keys, and the same configuration once more."""

import dataclasses
import re

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from effbench.config.info import info_text
from effbench.config.read import read_sweep
from effbench.config.shown_config import config_text
from effbench.plan.given_data import give_data
from effbench.plan.given_networks import give_network
from effbench.sweep.config_file import config_file, sweep_config_file

TINY = "model=lenet_300_100 data.side=8 train.epochs=1 finetune.epochs=1"
FORMATS = "figure.format=svg,pdf"
COMMANDS = [
    f"{TINY} +prune=0,0.30000000000000004 bits=4 seed=0,3 coder=none,ans",
    f"{TINY} prune=0.5 prune_granularity=row act_bits=8 bits=8 train=sgd_cosine finetune.lr=1e-05 tolerance=0.1 "
    "train.optimizer=sgd train.optimizer.momentum=0.8 train.scheduler=step finetune.scheduler=null",
    f"{TINY} prune=0.5 finetune.optimizer=RMSprop stage.prune.layers={{fc*:0.2,classifier:skip}} measure.batch=1,8 "
    "recipe=lottery_ticket recipe.rounds=2 recipe.until.max_loss=0.1 stage.fold_batch_norm.enabled=true",
    f"{TINY} distill=0.9 prune=0.5 stage.distill.teacher=${{oc.env:TEACHER}} stage.distill.teacher_epochs=1",
    "task=segmentation data.side=16 train.epochs=1 rho_eval=1.5 data.n_train=60 data.n_val=20 data.n_test=20",
    "model=my_nets:net,lenet_300_100 data=./photos rank=0.5",
    "model=squeezenet1_1 data.side=32 bits=4",
    "--config-dir conf_mine --config-name mine model=net task=likewise recipe=mine_first engine=mine amount=1 units=8 "
    "distill=0.5 stage.distill.teacher=net stage.distill.teacher_epochs=1",
]
NETS = """
from torch import nn

def net(*, hidden=4, num_classes=10, in_channels=1, input_side=28):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * input_side**2, hidden), nn.Linear(hidden, num_classes))
"""


@pytest.fixture
def surroundings(own_folder, own_code, axis_yaml, tmp_path, monkeypatch):
    """A folder of pictures, a module and a folder of configuration in the working folder, and a variable."""
    units = {"reads": "network", "target": "units", "type": "int", "neutral": 4, "phase": None, "example": 8}
    own_folder(
        {
            "stage/mine.yaml": "_target_: users_kit.Mine\n",
            "axis/amount.yaml": axis_yaml(phase="mine", order=2),
            "axis/units.yaml": axis_yaml(**units, moves="[macs]", realised="{macs: removed}"),
            "model/net.yaml": "_target_: users_kit.network\n",
            "task/likewise.yaml": "_target_: users_kit.Likewise\nmodel: net\ndata: digits\nlike: classification\n",
            "engine/mine.yaml": "_target_: effbench.measure.engines.eager.EagerEngine\ndevice: cpu\n",
            "recipe/mine_first.yaml": "steps: [train, [mine, prune, finetune]]\nrounds: 1\n",
            "mine.yaml": "defaults: [config, _self_]\ntolerance: 0.01\nseed: [2]\n",
        }
    )
    (tmp_path / "my_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TEACHER", "small_cnn")
    for number in range(24):
        place = tmp_path / "photos" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), number * 5, np.uint8)).save(place / f"{number}.png")


def redone(folder, content, *more):
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_bytes(content)
    return read_sweep(["--config-dir", str(folder), *more])


def check_all(sweep, folder):
    """Check the last run of each configuration, but for controls; of some commands a reference and a control, too."""
    chosen = {str(point.swept): point for point in sweep.plan.points if not point.is_control}
    controls = [point for point in sweep.plan.points if point.is_control]
    for point in [*sweep.plan.points[: len(sweep.axes) - 1], *chosen.values(), *controls]:
        again = redone(folder, config_file(point, sweep))
        found = {other.key: other for other in again.plan.points}
        assert set(found) == {point.key, point.reference_key or point.key}
        other = found[point.key]
        assert (other.label, other.network_name, other.swept) == (point.label, point.network_name, point.swept)
        assert (other.is_reference, other.is_control) == (point.is_reference, point.is_control)
        assert other.resolved == point.resolved
        assert (again.engines, again.measure, again.tolerance) == (sweep.engines, sweep.measure, sweep.tolerance)


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("surroundings")
def test_a_run_s_configuration_has_the_keys_of_that_run(tmp_path, monkeypatch, command):
    sweep = read_sweep(command.split())
    monkeypatch.delenv("TEACHER")  # it is resolved
    (tmp_path / "conf_mine").rename(tmp_path / "gone")  # nothing of it is needed
    check_all(sweep, tmp_path / "artifact")


@pytest.mark.extended
def test_objects_that_were_given_are_known_where_they_are(tmp_path):
    torch.manual_seed(0)
    network = give_network(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)))
    images, labels = torch.rand(60, 1, 8, 8), torch.arange(60) % 4
    data = give_data((torch.utils.data.TensorDataset(images, labels),) * 3)
    call = "effbench.run_sweep(model=Sequential, …)"
    sweep = read_sweep([f"model={network}", f"data={data}", "prune=0.5", "finetune.epochs=0"], call=call)
    check_all(sweep, tmp_path / "artifact")
    content = config_file(sweep.plan.points[-1], sweep).replace(b"given:Sequential-", b"given:Sequential-0")
    with pytest.raises(ValueError, match=r"given:Sequential-0\w+: stands for an object of another program"):
        redone(tmp_path / "artifact", content)


@pytest.mark.extended
def test_a_sweep_s_configuration_is_that_of_all_its_runs(tmp_path):
    sweep = read_sweep([*TINY.split(), "prune=0.1,0.5", "seed=0,1", "bits=8"])
    again = redone(tmp_path / "artifact", sweep_config_file(sweep))
    assert again.plan.sweep_id == sweep.plan.sweep_id
    several = read_sweep([*TINY.split(), "prune=0.1,0.5", "train.lr=0.1,0.01"])
    with pytest.raises(
        ValueError, match=r"of a sweep over train\.lr, .* give its command: python -m effbench\.sweep mo"
    ):
        redone(tmp_path / "artifact", sweep_config_file(several))


@pytest.fixture(scope="module")
def content():
    sweep = read_sweep([*TINY.split(), "prune=0.5"])
    return config_file(sweep.plan.points[-1], sweep)


class TestArguments:
    def test_what_nothing_follows_from_may_be_given_anew(self, tmp_path, content):
        anew = ["prune=0.1,0.9", "seed=4", "coder=none", "tolerance=0.1", "measure.batch=1,8", "store.root=there"]
        sweep = redone(tmp_path / "a", content, *anew, "engine.eager.device=cpu", "bits=4", "sweep.jobs=1", FORMATS)
        labels = [point.label for point in sweep.plan.points]
        assert labels == ["reference", "prune=0.1, bits=4", "prune=0.9, bits=4"]
        assert {(point.seed, point.coder) for point in sweep.plan.points} == {(4, "none")}
        assert (sweep.measure.batch, sweep.tolerance, sweep.jobs, sweep.store.root) == ((1, 8), 0.1, 1, "there")
        assert sweep.figure.format == ("svg", "pdf")

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("train.lr=0.1", "train.lr=0.1: {file} is the configuration of a run, in which what follows from train.lr"),
            ("model=lenet_5", "change it in the command instead: python -m effbench.sweep model=lenet_300_100"),
            ("measure.second=1", "measure.second: there is no such key; did you mean measure.seconds?"),
            ("sweep.jobs=1,2", "sweep.jobs=1,2: takes one value, for the whole sweep"),
            ("engine=eagr", "engine=eagr: there is no such choice; did you mean engine=eager?"),
            ("engine.eagr.device=cpu", "engine.eagr.device: there is no such key"),
            ("prune=2", "prune=2: must be a number"),
            ("seed=-1", "seed=-1: must be a whole number"),
            ("seed=[]", "seed=[]: give at least one value"),
        ],
    )
    def test_what_fits_not_is_told_in_a_line(self, tmp_path, content, argument, message):
        with pytest.raises(ValueError) as error:
            redone(tmp_path / "a", content, argument)
        assert message.format(file=tmp_path / "a" / "config.yaml") in str(error.value)
        assert len(str(error.value).splitlines()) == 1


def test_a_secret_is_not_there_and_must_be_given(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "hunter2hunter2")
    secret = ["store.root=./${oc.env:MY_API_KEY}", "tracking.uri=http://me:pa55word@there:5000"]
    sweep = read_sweep([*TINY.split(), "prune=0.5", *secret])
    sweep = dataclasses.replace(sweep, arguments=(*sweep.arguments, "model.hf_token=hf_abcdefgh", "x=hunter2hunter2"))
    content = config_file(sweep.plan.points[-1], sweep)
    assert not re.search(rb"hunter2|pa55word|hf_abc", content + sweep_config_file(sweep))
    assert b"model.hf_token=***'" in content
    monkeypatch.delenv("MY_API_KEY")
    with pytest.raises(
        ValueError, match=r"config\.yaml: store\.root: \*\*\* stands for a secret .* as in store\.root="
    ):
        redone(tmp_path / "a", content)
    assert redone(tmp_path / "a", content, "store.root=x").plan.points[-1].key == sweep.plan.points[-1].key


@pytest.mark.extended
def test_what_is_asked_of_it_is_told_of_it(tmp_path):
    """`--cfg job` and `--info` read a run's configuration as the command does that makes the run again."""
    sweep = read_sweep([*TINY.split(), "prune=0.5", "train.lr=0.07", "seed=3"])
    redone(tmp_path / "art", config_file(sweep.plan.points[-1], sweep))
    there = ["--config-dir", str(tmp_path / "art")]
    shown = yaml.safe_load(config_text(there, kind="job"))
    assert (shown["prune"], shown["seed"], shown["train"]["lr"], shown["train"]["epochs"]) == (0.5, 3, 0.07, 1)
    assert yaml.safe_load(config_text([*there, "prune=0.5,0.9"], kind="job"))["prune"] == [0.5, 0.9]
    assert "Config search path" in info_text(there, "searchpath")
    with pytest.raises(ValueError, match=r"--info defaults: \S+config.yaml is the whole configuration of a run"):
        info_text(there, "defaults")
