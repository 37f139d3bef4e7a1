"""`effbench profile`: its page, its keys, its answers; the rest is tested with `sweep.profiling` and `profile_page`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from effbench.profile import HELP, main

VGG16 = ("model=vgg16",)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("effbench.tracking.location.DATABASE", "of_no_folder_above.db")
    return tmp_path


def test_help_is_a_page(capsys):
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == f"{HELP}\n"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("effbench 0.")


@pytest.mark.extended
def test_vgg16_is_as_published(folder, capsys):
    assert main([*VGG16, "--format=json", "top=3", "out=vgg.csv,figures/vgg.svg"]) == 0
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    assert (record["totals"]["macs"], record["totals"]["params"]) == (15_470_264_320, 138_357_544)
    shares = {group["group"]: group for group in record["groups"]}
    assert round(100 * shares["fully connected"]["macs_share"], 2) == 0.80
    assert round(100 * shares["fully connected"]["params_share"], 1) == 89.4
    assert "classifier.0" in [layer["layer"] for layer in record["layers"]] and len(record["layers"]) == 3
    assert printed.err.splitlines() == ["effbench: vgg.csv: written", "effbench: figures/vgg.svg: written"]
    assert (folder / "vgg.csv").is_file() and (folder / "figures" / "vgg.svg").is_file()


def test_a_table_is_printed(folder, capsys):
    assert main(["model=lenet_300_100", "sort=macs", "side=28"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == "lenet_300_100 at 1×28×28" and lines[3].startswith("fc1") and printed.err == ""
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sort=size"], "sort=size: must be one of order, macs, params, activations"),
        (["top=0"], "top=0: must be a whole number, 1 or more"),
        (["top=many"], "top=many: must be a whole number"),
        (["side=-3"], "side=-3: must be a whole number, 1 to 8192"),
        (["side=9999"], "side=9999: must be a whole number, 1 to 8192"),
        (["top=1", "top=2"], "top=2: top is given already"),
        (["side="], "side=: must be key=value"),
        (["out=a.gif"], "out=a.gif: must end with one of .csv, .json"),
        (["--format=xml"], "--format=xml: must be table, csv, json or markdown"),
        (["run=a", "model=vgg16"], "model=vgg16: can't be given with run="),
        (["run=a"], "there is no of_no_folder_above.db in "),
        (["tracking.experiment=mine"], "tracking.experiment: says where run= was logged"),
        (["model=vgg61"], "model=vgg61: there is no such choice"),
        (["vgg16"], "vgg16: must be key=value"),
        (["--cfg", "job"], "--cfg: is an option of effbench sweep; see --help"),
        (["--config-dir", "nowhere"], "--config-dir=nowhere: there is no such folder"),
        (["--nope"], "--nope"),
        (["sotr=macs"], "sotr: there is no such key"),
        (["model=lenet_5", "side=3"], "input_side must be at least 13 for lenet_5"),
    ],
)
def test_what_fits_not_is_told_in_a_line(folder, capsys, arguments, message):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert message in line and printed.out == ""
    assert not list(folder.iterdir())


def test_a_file_that_can_not_be_written(folder, capsys):
    (folder / "there").write_text("")
    assert main(["model=lenet_300_100", "out=there/a.csv"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "can't be written" in line


@pytest.mark.extended
def test_it_is_a_command(folder):
    """A process of its own takes a network from the working folder."""
    (folder / "own_nets.py").write_text("from torch import nn\n\ndef net():\n    return nn.Conv2d(1, 4, 3)\n")
    command = [sys.executable, "-m", "effbench.profile", "model=own_nets:net", "side=8", "--format", "csv"]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": root, "HOME": "/"})
    assert (done.returncode, done.stderr) == (0, "")
    header, row = done.stdout.splitlines()
    assert header.startswith("layer,kind,group,form,output,macs") and row.startswith(
        ",Conv2d,convolution,3×3,4×6×6,1296"
    )
