"""A profile shown: on terminals of any width, as documents, in files."""

import csv
import io
import json

import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import nn

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import register
from effbench.measure.layer_profile import profile_of
from effbench.measure.memory import peak_memory
from effbench.sweep.profile_page import ProfilePage, check_path

SIZE = (1, 8, 8)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10, bias=False)
    )


def page(model=None, **options):
    model = network() if model is None else model
    peak = peak_memory(model, SIZE)
    return ProfilePage(title="a network", input_size=SIZE, profile=profile_of(model, SIZE), peak=peak, **options)


def printed(shown, width=200):
    stream = io.StringIO()
    shown.show(Console(file=stream, width=width, soft_wrap=True, force_terminal=False))
    return stream.getvalue()


def test_a_terminal_gets_layers_groups_and_what_there_is_to_say():
    lines = printed(page()).splitlines()
    assert lines[0] == "a network"
    cells = [line.split() for line in lines]
    assert cells[2] == "layer group kind MACs share params share weights activations share output".split()
    assert cells[3] == "0 convolution 3×3 2,304 47.37 % 36 1.39 % 36 256 49.04 % 4×8×8".split()
    assert cells[4] == "1 other ReLU 256 49.04 % 4×8×8".split()
    assert "fully connected       1  2,560   52.63 %   2,560   98.61 %" in "\n".join(lines)
    assert any(line.startswith("all") and "4,864  100.00 %   2,596" in line for line in lines)
    assert lines[-2:] == [
        "activations: 2.09 KB in all, over one inference",
        "peak memory of one inference: weights 10.4 KB + activations 2.30 KB, reached in 1",
    ]


def test_zeros_are_shown_where_there_are_any():
    model = network()
    register(model[3], "weight", Mask(torch.arange(2560).reshape(10, 256) % 2))
    text = printed(page(model))
    assert "effective" in text and "non-zero" in text and "1,280" in text
    assert "effective" not in printed(page())
    with torch.no_grad():
        model = network()
        model[3].weight[0, 0] = 0.0
    assert "effective" not in printed(page(model))  # one that was drawn


def test_a_network_without_parts_has_no_name():
    text = printed(page(nn.Conv2d(1, 4, 3)))
    assert text.splitlines()[3].startswith("(the network itself)  convolution")
    assert page(nn.Conv2d(1, 4, 3)).document("csv").splitlines()[1].startswith(",Conv2d,convolution")


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_a_narrow_terminal_gets_whole_columns(width):
    lines = printed(page(sort="macs"), width=width).splitlines()
    assert any(line.startswith(f"not shown at {width} columns: output") for line in lines)
    assert all(len(line) <= width for line in lines if line[:1].isdigit())
    assert lines[3].split()[:1] == ["3"] and ("2.56 K" in lines[3] or "2,560" in lines[3])


def test_layers_are_sorted_and_cut():
    shown = page(sort="params", top=1)
    assert shown.layers["layer"].tolist() == ["3"]
    assert "2 of 3 layers are not shown (top=1)" in printed(shown)
    assert shown.summary["layers"].sum() == 3


def test_csv_has_raw_numbers():
    (first, second, third) = csv.DictReader(io.StringIO(page().document("csv")))
    assert (first["macs"], first["form"], first["output"], first["activations"]) == ("2304", "3×3", "4×8×8", "256")
    assert float(third["params_share"]) == pytest.approx(2560 / 2596)
    assert second["group"] == "other"


def test_json_has_everything():
    record = json.loads(page(top=1).document("json"))
    assert record["totals"] == {
        "macs": 4864,
        "macs_effective": 4864,
        "params": 2596,
        "params_nonzero": 2596,
        "weights": 2596,
        "activations": 522,
        "activation_bytes": 2088,
    }
    assert [group["group"] for group in record["groups"]] == ["convolution", "fully connected", "other"]
    assert len(record["layers"]) == 1 and record["input_size"] == [1, 8, 8] and record["not_counted"] == []
    assert record["peak_bytes"] == {"weights": 10384, "activations": 2304}


def test_markdown_has_both_tables():
    text = page().document("markdown")
    assert text.startswith("a network\n\n| group | layers | MACs |")
    assert "| 0 | convolution | 3×3 | 2,304 | 47.37 % |" in text


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(("name", "begins"), [("a.svg", b"<?xml"), ("b/c.png", b"\x89PNG"), ("d.pdf", b"%PDF")])
def test_figures_are_saved(tmp_path, name, begins):
    page().save(tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_documents_are_saved(tmp_path):
    for name in ("a.csv", "a.json", "a.md"):
        page().save(tmp_path / name)
    assert pd.read_csv(tmp_path / "a.csv")["macs"].sum() == 4864
    assert json.loads((tmp_path / "a.json").read_text())["network"] == "a network"
    with pytest.raises(ValueError, match=r"out=a.gif: must end with one of .csv, .json, .md, .svg, .png, .pdf"):
        check_path(tmp_path.__class__("a.gif"))


def test_what_is_not_known_is_said():
    class Inverse(nn.Module):
        def forward(self, x):
            return torch.linalg.qr(x)[0]

    profile = profile_of(nn.Sequential(nn.Conv2d(1, 1, 1), Inverse()), SIZE)
    shown = ProfilePage(title="t", input_size=SIZE, profile=profile, peak=None)
    assert shown.lines()[-1] == "not counted: aten.linalg_qr"
