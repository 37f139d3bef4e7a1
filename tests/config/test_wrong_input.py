"""Wrong input: exit status 2, one or two clear lines that name the value, nothing started."""

import copy
import dataclasses
import functools
import pickle
import shlex

import pytest
import torch

from effbench.config.command_line import read_command_line
from effbench.config.read import read_sweep
from effbench.sweep.__main__ import main

WRONG = {
    "prune=1.0": "prune=1.0 below",
    "+prune=-0.1": "prune=-0.1 least",
    "prune=abc": "prune=abc number",
    "prune=nan": "prune=nan number",
    "+prune=0.5,1.5": "prune=1.5",
    "bits=0": "bits=0 least",
    "bits=3.5": "bits=3.5 whole",
    "bits=64": "bits=64 16 32",
    "alpha=0": "alpha=0 above",
    "alpha=-1": "alpha=-1 above",
    "alpha=inf": "alpha=inf number",
    "rho=0": "rho=0 above",
    "rho=0.04": "rho=0.04",
    "pooling=sometimes": "pooling=sometimes early late",
    "+prnue=0.5": "prnue prune",
    "+prune=0.5 prnue=0.5": "prnue prune",
    "model=lenet_300_100 +alpha=0.5": "alpha lenet_300_100 prune rho",
    "model=resnet": "model=resnet",
    "data=imagenet": "data=imagenet",
    "engine=tensorrt": "engine=tensorrt eager",
    "recipe=best": "recipe=best default",
    "train.epoch=3": "train.epoch train.epochs",
    "+train.epoch=3": "train.epoch train.epochs",
    "train.epochs=-1": "train.epochs=-1",
    "train.epochs=two": "train.epochs=two",
    "train.lr=nan": "train.lr=nan",
    "train.layout=sideways": "layout=sideways channels_last",
    "seed=-1": "seed=-1",
    "seed=x": "seed=x",
    "device=cuda:9": "device=cuda:9 auto",
    "device=toaster": "device=toaster auto",
    "tolerance=-1": "tolerance=-1",
    "sweep.jobs=0": "sweep.jobs=0 auto",
    "sweep.jobs=1.5": "sweep.jobs=1.5: auto",
    "finetune.lr=0": "effbench: finetune.lr=0: above",
    "train.threads=9999": "train.threads=9999: 256",
    "measure.threads=1,9999": "measure.threads=9999: 256",
    "store.root=": "store.root=: folder",
    "PRUNE=0.5": "PRUNE: prune?",
    "measure.batch=1,0": "batch 0",
    "coder=zip": "coder=zip huffman",
    "recipe.rounds=0": "recipe.rounds=0",
    "data=image_folder data.root=nowhere": "nowhere no such folder",
    "data=mnist data.root=nowhere train.epochs": "train.epochs",
    "model=torchvision model.name=resnet19": "resnet19 resnet18",
    "model._target_=nowhere.net": "nowhere.net",
    "stage.prune.criterion=luck +prune=0.5": "criterion=luck magnitude",
    "tracking.uri=http://127.0.0.1:9": "127.0.0.1:9",
    "tracking.uri=nonsense": "nonsense",
    "tolerance=2": "tolerance=2: [0,",
    "store=3": "store: group store.root=…",
    "recipe.rounds=1000000000000": "recipe.rounds=1000000000000: 1000",
    "phases=abc": "phases=abc: list",
    "data.epochs=3": "data.epochs=3: {train:10,finetune:3}",
    "data.side=100000": "data.side=100000: 8192",
    "model.channels=3": "model.channels=3: list",
    "engine.eager.device=3": "engine.eager.device=3: text",
    "stage.distill.augmentation=3": "stage.distill.augmentation=3:",
    "data.side={a:1}": "data.side={a: whole",
    "model.channels={a:1}": "model.channels={a:1}: kind",
}


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize(("arguments", "words"), WRONG.items(), ids=WRONG)
def test_wrong_input_is_refused_in_a_clear_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(shlex.split(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert 1 <= len(printed.err.strip().splitlines()) <= 2
    assert "Traceback" not in printed.err
    for word in words.split():
        assert word in printed.err
    assert not list(tmp_path.iterdir())


PLANNING = {
    "data=image_folder": "data.root: must be given",
    "data.root=/x": "no option 'root'",
    "data.side=abc": "data.side=abc: must be a whole number",
    "data.split_seed=-1": "data.split_seed=-1",
    "model.foo=1": "no option 'foo'",
    "model.channels=8": "model.channels=8: must be a list, each element a whole number",
    "model=shufflenet_v1 model.scale=1e30": "(given: model.scale=1e+30)",
    "model._target_=os.getcwd": "model._target_=os.getcwd: is a part of Python itself",
    "model._target_=torch.numel": "model._target_=torch.numel: is no function or class written in Python",
    "model._target_=[a]": "model._target_=['a']: must be a dotted name",
    "model.x._target_=a.b": "model.x._target_: there is no such key",
    "stage.prune._target_=os.system prune=0.5": "stage.prune._target_=os.system: is a part of Python itself",
    "task._target_=effbench.data.digits.digits": "gives a InMemoryData, not a Task",
    "data._target_=effbench.models.lenet_5": "effbench.models.lenet_5: gives a Sequential, not an ImageData",
    "engine.eager._target_=torch.nn.ReLU": "engine.eager._target_=torch.nn.ReLU: must be a class with name, prepare",
    "tracking.artifacts=nope://x": "tracking.artifacts=nope://x: must be a folder, or a URI of s3",
    "tracking.artifacts=": "tracking.artifacts=: must be text",
    "tracking.uri=nope://me:pw@there": "tracking.uri=nope://me:***@there: must be a server",
    "model=lenet_5 rho_eval=0.5": "rho_eval=0.5: effbench.models.lenet_5 can't take images of 14 x 14",
    "rho=0.1": "rho=0.1",
    "model=lenet_300_100 pooling=early,late": "pooling=early,late: the network",
    "recipe=lottery_ticket prune_channels=0.5": "prune_channels=0.5: the recipe has no step 'structure'; its steps are",
    "recipe.steps=[train,nope]": "nope",
    "stage.quantize.scheme=odd": "stage.quantize.scheme=odd: must be symmetric, affine, ternary, "
    "power_of_two or kmeans",
    "train.batch_size=0": "train.batch_size=0",
    "train.epochs=true": "train.epochs=true: must be a whole number, 0 or more",
    "train.threads=0": "train.threads=0",
    "measure.seconds=nan": "measure.seconds=nan",
    "measure.threads=x": "measure.threads=x: must be a whole number",
    "dry_run=maybe": "dry_run=maybe: must be true or false",
    "tracking.experiment=": "tracking.experiment=: must be text; a name, such as effbench",
    "tracking.uri=/some/folder dry_run=false": "tracking.uri=/some/folder: must be a server",
    "train.lr=0.1,nan prune=0.5": "train.lr=nan",
    "recipe.steps=[train,[prune,finetun]]": "recipe.steps: finetun: there is no such step; did you mean finetune?",
    "recipe=lottery_ticket recipe.excludes=[structur]": "structur: there is no such phase; did you mean structure?",
    "model.alpha=0.5 alpha=0.25,1": "model.alpha=0.5: is what alpha=0.25,1 sweeps; give one of the two",
    "stage.prune.layers={conv9:0.5} prune=0.5": "stage.prune.layers: the pattern conv9 meets no layer of the network",
    "stage.prune.layers={classifier:2} prune=0.5": "stage.prune.layers={classifier: 2}: must be skip or a ratio",
    "stage.train.layers={classifier:2}": "as Train acts on no layer alone",
    "task=segmentation data=digits": "data=digits: is for task=classification",
    "engine.eager.device=toaster": "engine.eager.device=toaster: must be cpu, cuda, cuda:N or mps",
    "engine.eager.devise=cpu": "engine.eager.devise: there is no such key; did you mean engine.eager.device?",
    "engine.tensorrt.device=cpu": "engine.tensorrt.device: there is no such key",
}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("text", PLANNING)
def test_what_can_not_be_run_is_refused_before_anything_starts(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(text.split()) == 2
    printed = capsys.readouterr()
    assert PLANNING[text] in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.out == ""
    assert not (tmp_path / "mlflow.db").exists()


def test_a_network_that_raises_is_named_with_the_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_networks.py").write_text("def net(*, num_classes=10):\n    raise KeyError('lost')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["model._target_=broken_networks.net"]) == 2
    error = capsys.readouterr().err
    assert "KeyError" in error
    assert "broken_networks.py, line 2" in error


def test_a_network_of_other_classes_is_refused(tmp_path, monkeypatch, capsys):
    source = "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 7))\n"
    (tmp_path / "seven_networks.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["model._target_=seven_networks.net"]) == 2
    assert "must give (1, 10) scores for one image, but gives shape (1, 7)" in capsys.readouterr().err


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("augment", ["none", "resized_crop"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_broken_image_is_named(augment, suffix, tmp_path, monkeypatch, capsys):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(5):
            Image.effect_noise((40, 40), 10 + number).convert("RGB").save(folder / f"{number}{suffix}")
    broken = tmp_path / "photos" / "dog" / f"3{suffix}"
    broken.write_bytes(broken.read_bytes()[:-200])
    root = f"data.root={tmp_path}/photos"
    assert main(["data=image_folder", root, "data.side=8", f"data.augment={augment}"]) == 2
    printed = capsys.readouterr().err
    assert f"3{suffix}: not a readable image" in printed and len(printed.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.extended
def test_weights_that_do_not_fit_or_are_no_weights_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({"classifier.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    torch.save(main, tmp_path / "pickle.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps({"a": 1}, protocol=4))  # of which torch warns in many lines
    for name in ("other.pth", "pickle.pth", "bare.pth", "missing.pth"):
        assert main(["model=torchvision", "model.name=squeezenet1_1", f"model.weights={name}", "rho=2"]) == 2
        printed = capsys.readouterr().err
        assert name in printed
        assert "Traceback" not in printed
        assert len(printed.strip().splitlines()) == 1


def test_a_folder_that_can_not_be_written_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file where a folder should be")
    assert main(["store.root=taken", "+prune=0.5"]) == 2
    assert "store.root=taken" in capsys.readouterr().err


def test_in_a_sweep_of_good_and_bad_values_nothing_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["+prune=0.1,0.5,1.0", "train.epochs=1"]) == 2
    assert "prune=1.0" in capsys.readouterr().err
    assert not list(tmp_path.glob("**/*.json"))
    assert not (tmp_path / "mlflow.db").exists()


WRONG_VALUES = (-1, 1.5, float("nan"), "abc", "", None, [], [0, 0, 1], {"a": 1}, True, 1e30)


SKIPPED = ("task.", "stage.distill", "stage.early", "stage.train", "stage.finetune")
"""Of kinds that are there under another name, such as finetune.lr, or have no effect on their own."""


def leaves(node, prefix=""):
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        elif name not in ("_target_", "tasks"):
            yield f"{prefix}{name}"


@pytest.mark.extended
def test_whatever_stands_under_a_key_is_taken_or_refused_by_its_name(tmp_path, monkeypatch):
    """Of all keys and wrong values every 29th pair; none ends in another exception."""
    monkeypatch.chdir(tmp_path)
    command = read_command_line(["model=lenet_300_100", "data.side=8", "train.epochs=1", "finetune.epochs=1"])
    (composed,) = command.configurations
    keys = [key for key in leaves(composed.node) if not key.startswith(SKIPPED)]
    pairs = [(key, value) for key in keys for value in WRONG_VALUES][::29]
    refused = []
    for key, value in pairs:
        node = copy.deepcopy(dict(composed.node))
        *parents, last = key.split(".")
        functools.reduce(dict.__getitem__, parents, node)[last] = value
        changed = dataclasses.replace(command, configurations=(dataclasses.replace(composed, node=node),))
        monkeypatch.setattr("effbench.config.read.command_line_of", lambda arguments, file, changed=changed: changed)
        try:
            read_sweep([])
        except ValueError as error:
            refused.append(key)
            assert last in str(error) and "\n" not in str(error), f"{key}={value}: {error}"
    assert len(pairs) > 35 and len(refused) > len(pairs) / 2
