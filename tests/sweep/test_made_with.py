"""What a run was made with, and what of it is otherwise elsewhere."""

import copy

import pytest
import torch
import yaml

from effbench.config.read import read_sweep
from effbench.sweep.made_with import NAME, differences, made_with, made_with_files, read_made_with

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made():
    return made_with(read_sweep(["model=lenet_300_100", "data.side=8", "prune=0.5"]).plan.points[-1], CPU)


def test_it_is_a_file_and_the_same_here(made):
    point = read_sweep(["model=lenet_300_100", "data.side=8", "prune=0.5"]).plan.points[-1]
    (content,) = made_with_files(point, CPU).values()
    assert read_made_with(content) == made
    assert list(made_with_files(point, CPU)) == [NAME]
    assert differences(made, read_made_with(content)) == []
    assert made["versions"]["torch"] == torch.__version__.partition("+")[0] or "+" in torch.__version__
    assert (made["threads"], made["device"], made["run"]["key"]) == (1, "cpu", point.key)


OTHERWISE = {
    "versions.torch": ("1.0", "torch: 1.0 then, "),
    "versions.effbench": (None, "effbench: absent then, 0."),
    "machine.processor": ("Z80", "processor: Z80 then, "),
    "machine.flags": ("sse9", "processor flags: sse9 then only, "),
    "device": ("cuda:0 (H100)", "device: cuda:0 (H100) then, cpu now"),
    "threads": (4, "threads: 4 then, 1 now"),
    "data": ("abc", "fingerprint of the data: abc then, "),
    "code": ({"my_nets.net": "1"}, "my_nets.net: its code, or what it imports, was changed"),
    "run.network": ("x", "network: its options, or a file that they name, are otherwise"),
    "run.seed": (7, "seed: 7 then, 0 now"),
    "run.steps.1 prune": ("x", "steps of the recipe that are otherwise: 1 prune"),
}


@pytest.mark.parametrize(("key", "value", "line"), [(key, *change) for key, change in OTHERWISE.items()])
def test_each_thing_that_is_otherwise_is_a_line(made, key, value, line):
    then = copy.deepcopy(made)
    *parents, last = key.split(".")
    node = then
    for name in parents:
        node = node[name]
    if value is None:
        del node[last]
    else:
        node[last] = value
    (found,) = differences(then, made)
    assert found.startswith(line)


@pytest.mark.parametrize("content", [b"", b"[", b"\xff", b"3", b"a: 2020-01-01", yaml.safe_dump([1]).encode()])
def test_of_a_damaged_file_nothing_is_known(content):
    assert read_made_with(content) == {}
