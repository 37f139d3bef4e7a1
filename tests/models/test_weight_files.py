"""Files of weights: every form in which people have them, and everything else."""

import argparse
import os
import pathlib
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from effbench.models.weight_files import read_state_dict


@pytest.fixture
def save(tmp_path):
    """Return a function that writes what torch.save makes of something, and gives the path."""

    def save(content, **options):
        torch.save(content, tmp_path / "weights.pt", **options)
        return str(tmp_path / "weights.pt")

    return save


def network():
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 5))


STATE = network().state_dict()


def is_state(loaded):
    return list(loaded) == list(STATE) and all(torch.equal(loaded[name], STATE[name]) for name in STATE)


class TestReading:
    def test_a_state_dict_comes_back(self, save):
        assert is_state(read_state_dict(save(STATE)))

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(ValueError, match=r'weights must be "none", "default" or an existing file; .*missing.pt'):
            read_state_dict(tmp_path / "missing.pt")

    @pytest.mark.parametrize("content", [b"", b"not a pickle at all", b"PK\x03\x04 a damaged archive"])
    def test_other_bytes_are_refused(self, tmp_path, content):
        path = tmp_path / "weights.pt"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="can't be read as weights"):
            read_state_dict(path)

    @pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {}, {"epoch": 3}])
    def test_other_contents_are_refused(self, save, content):
        with pytest.raises(ValueError, match=r"must hold a state_dict \(tensors by name\)"):
            read_state_dict(save(content))


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


class TestHostilePickles:
    def test_code_inside_is_refused_and_not_run(self, tmp_path, save):
        target = tmp_path / "owned"
        path = save({"features.0.weight": Malicious(str(target))})
        with pytest.raises(ValueError, match="can't be read as weights") as caught:
            read_state_dict(path)
        assert not target.exists()
        assert "\n" not in str(caught.value)

    def test_a_bare_pickle_is_refused_and_not_run(self, tmp_path):
        target = tmp_path / "owned"
        path = tmp_path / "weights.pkl"
        path.write_bytes(pickle.dumps(Malicious(str(target))))
        with pytest.raises(ValueError, match="can't be read as weights"):
            read_state_dict(path)
        assert not target.exists()


class AttributeDict(dict):
    """As Lightning's, in which it keeps hyper_parameters."""


class Settings:
    def __init__(self):
        self.rate, self.nested = 0.1, [pathlib.Path("here")]


class TestForms:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}},
            lambda state: {"model": state, "args": argparse.Namespace(lr=0.1, out=pathlib.Path("x"))},
            lambda state: {"model_state_dict": state, "loss": 0.3},
            lambda state: {"model_ema": state, "epoch": 1},
            lambda state: {"state_dict_ema": state},
            lambda state: {"state_dict": state, "hyper_parameters": AttributeDict(lr=0.1, model=Settings())},
            lambda state: {"state_dict": state, "hyper_parameters": {"sizes": np.float64(3.0), "kind": Settings}},
            lambda state: OrderedDict((f"_orig_mod.{name}", tensor) for name, tensor in state.items()),
        ],
    )
    def test_what_training_scripts_save(self, save, wrap):
        assert is_state(read_state_dict(save(wrap(STATE))))

    def test_one_that_was_saved_the_old_way(self, save):
        path = save({"state_dict": STATE, "args": argparse.Namespace(lr=1)}, _use_new_zipfile_serialization=False)
        assert is_state(read_state_dict(path))

    @pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin"])
    def test_safetensors_by_their_content(self, tmp_path, name):
        safetensors.torch.save_file(dict(STATE), tmp_path / name)
        loaded = read_state_dict(tmp_path / name)
        assert set(loaded) == set(STATE) and all(torch.equal(loaded[k], STATE[k]) for k in STATE)

    def test_the_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        torch.save(STATE, tmp_path / "w.pt")
        assert is_state(read_state_dict("~/w.pt"))

    def test_several_sets_are_told_apart_by_the_entry(self, save):
        other = {name: torch.zeros_like(tensor) for name, tensor in STATE.items()}
        path = save({"model": other, "model_ema": STATE})
        with pytest.raises(ValueError, match=r"holds weights in model and in model_ema; .*model.weights_entry=model$"):
            read_state_dict(path)
        assert is_state(read_state_dict(path, entry="model_ema"))
        with pytest.raises(ValueError, match=r"weights_entry=ema: .*state_dicts are in model, model_ema"):
            read_state_dict(path, entry="ema")

    def test_an_entry_of_another_name_is_hinted_at(self, save):
        path = save({"generator": STATE, "epoch": 3})
        with pytest.raises(ValueError, match=r"model.weights_entry=generator takes what lies there"):
            read_state_dict(path)
        assert is_state(read_state_dict(path, entry="generator"))


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, images):
        return self.layer(images)


class TestOtherFiles:
    @pytest.mark.parametrize("wrap", [lambda model: model, lambda model: {"model": model, "epoch": 1}])
    def test_a_whole_network_is_refused_with_how_to_save_it(self, save, wrap):
        with pytest.raises(ValueError, match=r"a whole .*no code from files is run; save its tensors: torch.save"):
            read_state_dict(save(wrap(Inner())))

    def test_torchscript_is_refused(self, tmp_path):
        path = tmp_path / "scripted.pt"
        with zipfile.ZipFile(path, "w") as archive:  # as torch.jit.save lays it out
            for name in ("scripted/data.pkl", "scripted/code/__torch__.py", "scripted/constants.pkl"):
                archive.writestr(name, b"")
        with pytest.raises(ValueError, match=r"a TorchScript archive, of which code would be run"):
            read_state_dict(path)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("w.pth", b"", r"it is empty \(0 bytes\)"),
            ("w.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
            ("w.pth", b"<!DOCTYPE html>\n<html><body>404</body></html>", "a web page"),
            ("w.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
            ("w.onnx", b"\x08\x07\x12\x07pytorch", "an ONNX graph"),
            ("w.safetensors", b"\x08\x00\x00", "it is damaged, cut short"),
            ("w.safetensors.index.json", b'{"weight_map": {}}', "several files can't be read"),
            ("w.npy", b"\x93NUMPY\x01\x00", "an array of numpy"),
            ("w.pth", b"\x1f\x8b\x08\x00", "a gzip archive; unpack it"),
            ("w.pth", b"\x00" * 64, "can't be read as weights"),
        ],
    )
    def test_foreign_files_are_named(self, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            read_state_dict(tmp_path / name)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
    @pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
    def test_a_file_that_is_cut_short(self, tmp_path, share, form):
        path = tmp_path / "whole.pt"
        if form == "safetensors":
            safetensors.torch.save_file(dict(STATE), path)
        else:
            torch.save(STATE, path, _use_new_zipfile_serialization=form == "zip")
        (tmp_path / "cut.pt").write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(ValueError, match="can't be read as weights") as caught:
            read_state_dict(tmp_path / "cut.pt")
        assert "\n" not in str(caught.value)

    def test_a_folder_names_what_is_in_it(self, tmp_path):
        torch.save(STATE, tmp_path / "best.pth")
        with pytest.raises(ValueError, match=r"is a folder; name the file of weights in it; in it are best.pth"):
            read_state_dict(tmp_path)

    @pytest.mark.parametrize("address", ["https://host/w.pth", "s3://bucket/w.pth", "file:///w.pth"])
    def test_an_address_is_to_be_downloaded(self, address):
        with pytest.raises(ValueError, match="is an address; download it"):
            read_state_dict(address)

    @pytest.mark.parametrize("name", ["x" * 5000, "~nobody_of_that_name/w.pth", "a\0b"])
    def test_what_can_be_no_path(self, name):
        with pytest.raises(ValueError, match="weights"):
            read_state_dict(name)

    @pytest.mark.parametrize(
        ("tensor", "message"),
        [
            (torch.full((2,), float("nan")), "holds NaN"),
            (torch.zeros(2, dtype=torch.complex64), "a complex tensor"),
            (torch.eye(2).to_sparse(), "a torch.sparse_coo tensor"),
            (np.zeros(2), "'extra' is a numpy.*no code from files is run"),
            (3, "found 'extra': int"),
        ],
    )
    def test_tensors_that_are_no_weights(self, save, tensor, message):
        with pytest.raises(ValueError, match=message):
            read_state_dict(save({**STATE, "extra": tensor}))
