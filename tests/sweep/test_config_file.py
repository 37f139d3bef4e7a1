"""A run's config.yaml: its first lines, its keys, the command that makes the run again, and what all that costs."""

import shlex
import time

import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from effbench.config.read import read_sweep
from effbench.plan.given_networks import give_network
from effbench.sweep.config_file import command_of, config_file, sweep_config_file

TINY = "model=lenet_300_100 data.side=8 train.epochs=1 finetune.epochs=1"


@pytest.fixture(scope="module")
def sweep():
    return read_sweep([*TINY.split(), "+prune=0.1,0.5", "train.batch_size=32,64", "bits=8", "measure.batch=1,8"])


def test_it_says_in_its_first_lines_how_the_run_is_made_again(sweep):
    point = sweep.plan.points[-1]
    first, command, folder, replay = config_file(point, sweep).decode().splitlines()[:4]
    assert first.startswith(f"# The configuration of the run {point.key} (train.batch_size=64, prune=0.5, bits=8, seed")
    assert "effbench 0." in first
    assert command.endswith(
        f"python -m effbench.sweep {TINY} prune=0.5 train.batch_size=64 bits=8 measure.batch=1,8 seed=0"
    )
    assert folder.endswith("python -m effbench.sweep --config-dir .")
    assert replay.endswith(f"python -m effbench.replay run={point.key}")


def test_its_keys_are_those_of_the_command_line_with_the_run_s_own_values(sweep):
    point = sweep.plan.points[-1]
    node = yaml.safe_load(config_file(point, sweep))
    assert (node["prune"], node["bits"], node["seed"], node["coder"]) == (0.5, 8, 0, "huffman")
    assert (node["train"]["batch_size"], node["finetune"]["batch_size"], node["measure"]["batch"]) == (64, 64, [1, 8])
    assert node["engine"]["eager"]["_target_"].endswith("EagerEngine")
    assert node["effbench"]["run_key"] == point.key
    assert node["effbench"]["swept"] == {"train.batch_size": "64"}
    assert "${" not in config_file(point, sweep).decode()


COMMANDS = {
    f"{TINY} +prune=0.1,0.5 seed=0,1 tracking.uri=http://me:secret@there": "prune=0.5 seed=1 'tracking.uri=http://me:***@there'",
    f"{TINY} prune=0.5": "prune=0.5 seed=0",
    f"{TINY} coder=ans,none seed=[3]": "coder=none seed=3",
    "model=lenet_5,lenet_300_100 'data=digits,./my photos' data.side=16": "model=lenet_300_100 'data=./my photos' data",
}


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(("command", "end"), COMMANDS.items(), ids=range(len(COMMANDS)))
def test_the_command_of_a_run_has_its_values_alone_and_no_secret(tmp_path, monkeypatch, command, end):
    monkeypatch.chdir(tmp_path)
    for number in range(20):
        place = tmp_path / "my photos" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 9, 0, 0)).save(place / f"{number}.png")
    sweep = read_sweep(shlex.split(command))
    point = sweep.plan.points[-1]
    line = command_of(point, sweep)
    assert end in line
    assert "secret" not in line
    again = read_sweep(shlex.split(line.replace("'tracking.uri=http://me:***@there'", ""))[3:])
    assert point.key in {other.key for other in again.plan.points}


def test_a_call_in_python_is_one_with_the_run_s_values():
    torch.manual_seed(0)
    name = give_network(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    arguments = [f"model={name}", "prune=0.1,0.5", "data.side=8", "finetune.epochs=1", "seed=1,2", "measure.batch=1,8"]
    sweep = read_sweep(arguments, call="effbench.run_sweep(…)")
    assert command_of(sweep.plan.points[-1], sweep) == (
        "effbench.run_sweep(model=Sequential, prune=0.5, data__side=8, finetune__epochs=1, seed=2, measure__batch=[1, 8"
        "])"
    )


def test_a_sweep_has_all_values_of_its_axes(sweep):
    node = yaml.safe_load(sweep_config_file(sweep))
    assert (node["prune"], node["bits"], node["seed"]) == ([0.1, 0.5], [8], [0])
    assert node["effbench"]["command"] == sweep.command
    assert node["effbench"]["swept"] == {"train.batch_size": ["32", "64"]}


@pytest.mark.extended
def test_hundreds_of_files_take_no_composition_each():
    sweep = read_sweep([*TINY.split(), f"prune={','.join(str(n / 50) for n in range(1, 41))}"])
    began = time.process_time()
    for point in sweep.plan.points:
        config_file(point, sweep)
    assert (time.process_time() - began) / len(sweep.plan.points) < 0.05  # about 0.006; a composition takes ten times


@pytest.mark.parametrize("call", [None, "effbench.run_sweep(prune=[0.5], sweep={'refine': 2})"])
def test_a_run_is_made_again_without_what_was_refined_and_a_sweep_with_it(call):
    sweep = read_sweep([*TINY.split(), "+prune=0.5", "sweep.refine=2"], call=call)
    sweep = sweep.with_points(sweep.refinement.curves[0].make(0.25))
    point = sweep.plan.points[-1]
    assert point.is_refined and "refine" not in command_of(point, sweep)
    assert yaml.safe_load(config_file(point, sweep))["sweep"]["refine"] == 0
    whole = yaml.safe_load(sweep_config_file(sweep))
    assert (whole["prune"], whole["sweep"]["refine"]) == ([0.5], 2)
