"""Soft labels from files: every form, what they are, and whether they are for these data."""

import json
import logging

import numpy as np
import pytest
import safetensors.torch
import torch

from effbench.data import paths
from effbench.training.label_files import pack_labels, read_labels

LOGITS = torch.randn(203, 4, generator=torch.Generator().manual_seed(0))
SHARES = LOGITS.softmax(dim=1)


@pytest.fixture(autouse=True)
def said(caplog):
    paths.remark.cache_clear()
    caplog.set_level(logging.WARNING)
    return caplog


def write(path, values, **more):
    match path.suffix:
        case ".npy":
            np.save(path, values.numpy())
        case ".npz":
            np.savez(path, logits=values.numpy(), **more)
        case ".safetensors":
            safetensors.torch.save_file({"logits": values}, path, metadata=more or None)
        case _:
            torch.save({"logits": values, **more} if more else values, path)
    return str(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".pt", ".pth"])
def test_every_form_gives_the_same(tmp_path, suffix):
    found = read_labels(write(tmp_path / f"labels{suffix}", LOGITS), "auto")
    assert torch.equal(found.logits, LOGITS) and found.fingerprint is None


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_the_fingerprint_lies_beside_them(tmp_path, suffix):
    assert read_labels(write(tmp_path / f"a{suffix}", LOGITS, fingerprint="abc"), "auto").fingerprint == "abc"


def test_of_an_array_it_lies_in_a_file_of_its_own(tmp_path):
    path = write(tmp_path / "a.npy", SHARES)
    (tmp_path / "a.npy.json").write_text(json.dumps({"fingerprint": "abc", "kind": "logits"}))
    found = read_labels(path, "auto")
    assert found.fingerprint == "abc" and torch.equal(found.logits, SHARES)
    (tmp_path / "a.npy.json").write_text("[]")
    with pytest.raises(ValueError, match=r"a\.npy\.json beside it must be as"):
        read_labels(path, "auto")


def test_packed_labels_come_back_to_the_bit(tmp_path):
    values = torch.cat([LOGITS, torch.full((2, 4), torch.nan)])
    (tmp_path / "soft_labels.npz").write_bytes(pack_labels(values, "abc"))
    found = read_labels(str(tmp_path / "soft_labels.npz"), "auto")
    assert torch.equal(found.logits.nan_to_num(9), values.nan_to_num(9)) and found.fingerprint == "abc"


class TestWhatTheyAre:
    @pytest.mark.parametrize("kind", ["auto", "probabilities"])
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_rows_that_sum_to_1_are_probabilities(self, tmp_path, kind, dtype):
        np.save(tmp_path / "p.npy", SHARES.numpy().astype(dtype))
        found = read_labels(str(tmp_path / "p.npy"), kind).logits
        torch.testing.assert_close(found.softmax(dim=1), SHARES, atol=2e-3, rtol=0)

    def test_whole_numbers_are_hard_shares(self, tmp_path):
        np.save(tmp_path / "p.npy", np.eye(4, dtype=np.int64))
        found = read_labels(str(tmp_path / "p.npy"), "auto").logits
        assert torch.isfinite(found).all() and torch.allclose(found.softmax(dim=1), torch.eye(4))

    def test_what_is_said_counts(self, tmp_path):
        path = write(tmp_path / "p.npy", SHARES)
        assert torch.equal(read_labels(path, "logits").logits, SHARES)
        with pytest.raises(ValueError, match=r"row 0 \(and 202 more\) does not sum to 1"):
            read_labels(write(tmp_path / "l.npy", LOGITS), "probabilities")
        with pytest.raises(ValueError, match="says that it holds logits, and labels_are=probabilities"):
            read_labels(write(tmp_path / "l.npz", LOGITS), "probabilities")

    def test_rows_of_nan_are_no_labels_and_half_of_one_is_none(self, tmp_path):
        gaps = SHARES.clone()
        gaps[3] = torch.nan
        found = read_labels(write(tmp_path / "g.npy", gaps), "auto").logits
        assert found[3].isnan().all() and torch.allclose(found[2].exp(), SHARES[2])
        gaps[5, 1] = torch.nan
        with pytest.raises(ValueError, match="row 5 is partly NaN"):
            read_labels(write(tmp_path / "g.npy", gaps), "auto")
        with pytest.raises(ValueError, match="has no label: every row is NaN"):
            read_labels(write(tmp_path / "g.npy", gaps * torch.nan), "auto")
        with pytest.raises(ValueError, match=r"row 0 \(and 1 more\) is infinite"):
            read_labels(write(tmp_path / "g.npy", torch.full((2, 4), torch.inf)), "auto")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", np.arange(203), "must have a row for each example and a column for each class, found 203"),
        ("a.npy", np.array([["a"]]), "must hold numbers, found <U1"),
        ("a.npy", np.array([[object()]]), "can't be read"),
        ("a.npz", {"x": np.eye(2), "y": np.eye(2)}, "must hold one array, logits or probabilities; it holds x, y"),
        ("a.npz", {"logits": np.eye(2), "probabilities": np.eye(2)}, "must hold one array"),
        ("a.csv", b"1,2", "must be one of .npy, .npz"),
        ("a.npy", b"", "can't be read"),
        ("a.npz", b"PK\x03\x04", "can't be read"),
        ("a.safetensors", b"\x00", "can't be read"),
        ("a.pt", b"nothing", "can't be read"),
        ("a.pt", [1, 2], "must hold an array of numbers, found list"),
        ("missing.npy", None, "there is no such file"),
        ("", None, "is a folder; name the file in it"),
    ],
)
def test_what_are_no_labels(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".npz" and content:
        np.savez(path, **content)
    elif path.suffix == ".npy" and content is not None:
        np.save(path, content)
    elif path.suffix == ".pt":
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"^labels=.*: ") as caught:
        read_labels(str(path), "auto")
    assert message in str(caught.value) and "\n" not in str(caught.value)


class TestForTheseData:
    def check(self, toy_data, tmp_path, values, **more):
        path = write(tmp_path / "labels.npz", values, **more)
        read_labels(path, "auto").check(toy_data, path=path)

    def test_those_of_their_fingerprint(self, toy_data, tmp_path, said):
        self.check(toy_data, tmp_path, LOGITS, fingerprint=toy_data.fingerprint)
        assert not said.text
        self.check(toy_data, tmp_path, LOGITS)
        assert "does not say for which data it is: only its shape is compared" in said.text

    @pytest.mark.parametrize(
        ("values", "more", "message"),
        [
            (LOGITS, {"fingerprint": "0123"}, "is for data of fingerprint 0123, and toy has"),
            (LOGITS[:100], {}, "is 100 × 4, and must be 203 × 4"),
            (LOGITS[:, :3], {}, "is 203 × 3, and must be 203 × 4"),
            (LOGITS.T, {}, r"is 4 × 203, and must be 203 × 4.*turn it \(\.T\)"),
        ],
    )
    def test_those_of_others(self, toy_data, tmp_path, values, more, message):
        with pytest.raises(ValueError, match=message):
            self.check(toy_data, tmp_path, values.contiguous(), **more)
