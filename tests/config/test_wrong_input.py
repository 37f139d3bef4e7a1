"""Wrong input: exit status 2, one or two clear lines that name the value, nothing started."""

import pickle
import shlex

import pytest
import torch

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
    "finetune.lr=0": "effbench: finetune.lr=0.0: positive",
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
}


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
