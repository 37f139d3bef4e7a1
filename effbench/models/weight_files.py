"""Files of weights, read as tensors by name: those that torch.save and safetensors wrote. No code of theirs is run."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from effbench.checks.errors import first_line
from effbench.data.paths import listed, shown
from effbench.models.inert_pickles import Inert, load_inertly

HOW_TO_SAVE = "save its tensors: torch.save(model.state_dict(), …)"

_WRAPPINGS = (
    *("state_dict", "model", "model_state_dict", "model_state", "net", "network", "module", "params", "weights"),
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema_model_state_dict", "ema", "params_ema"),
)
"""Keys under which training scripts keep a state_dict beside the optimiser's, the epoch and so on."""
_BEGINNINGS = {
    b"\x89HDF": "an HDF5 file (Keras)",
    b"GGUF": "a GGUF file",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"\x93NUMPY": "an array of numpy",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself: git lfs pull",
}
_SUFFIXES = {
    ".onnx": "an ONNX graph",
    ".tflite": "a LiteRT graph",
    ".pb": "a TensorFlow graph",
    ".pt2": "a program of torch.export",
    ".keras": "a Keras network",
    ".npz": "an archive of numpy's arrays",
    ".json": "a JSON file; name the file of weights itself (one whose weights lie in several files can't be read)",
}


def read_state_dict(path: str | Path, /, *, entry: str | None = None) -> dict[str, Tensor]:
    """Return the tensors of a file by their names.

    A state_dict itself, or within what a training script saved: under `state_dict`, `model`, … and under `entry`, where
    there are several. ValueError, in one line, if there is no such file, or it holds no tensors by name.
    """
    file = _existing(path)
    with file.open("rb") as stream:
        head = stream.read(512)
    if not head:
        raise ValueError(f"{shown(path)} can't be read as weights: it is empty (0 bytes); download or save it again")
    kind = _foreign_kind(file, head)
    if kind is not None:
        raise ValueError(
            f"{shown(path)} can't be read as weights: it is {kind}; give a state_dict of torch.save, or safetensors"
        )
    try:
        content = safetensors.torch.load_file(file) if _is_safetensors(file, head) else load_inertly(file)
    # A damaged or hostile file can fail in any way; whichever it is, the user's answer is the same.
    except Exception as error:
        inner = re.search(r"WeightsUnpickler error:\s*([^\n]+)", str(error))
        said = inner[1] if inner else first_line(error)
        if isinstance(error, _DAMAGED) or said.startswith("Unsupported operand"):
            said = "it is damaged, cut short, or of another program"
        raise ValueError(f"{shown(path)} can't be read as weights (a state_dict of torch.save): {said}") from error
    state = _without_wrapping(content, path, entry)
    for name, tensor in state.items():
        _check(path, name, tensor)
    return {name.replace("_orig_mod.", ""): tensor for name, tensor in state.items()}  # torch.compile's


_DAMAGED = (EOFError, zipfile.BadZipFile, safetensors.SafetensorError)


def _existing(path: str | Path) -> Path:
    text = str(path)
    if "://" in text:
        raise ValueError(f"weights={shown(text)}: is an address; download it, and give the path of the file")
    try:
        file = Path(text).expanduser()
        is_folder, is_file = file.is_dir(), file.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, no such user, a zero byte
        raise ValueError(f"weights={shown(text)}: can't be a file ({shown(error)})") from None
    if is_folder:
        inside = sorted(p.name for p in file.iterdir() if p.suffix in (".pth", ".pt", ".safetensors", ".bin", ".ckpt"))
        hint = f"; in it are {listed(inside)}" if inside else ""
        raise ValueError(f"weights={shown(text)}: is a folder; name the file of weights in it{hint}")
    if not is_file:
        raise ValueError(f'weights must be "none", "default" or an existing file; there is no file {shown(repr(text))}')
    return file


def _foreign_kind(file: Path, head: bytes) -> str | None:
    """Return what a file is that holds no weights of torch, as far as its beginning and its name tell."""
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    if head.lstrip()[:1] == b"<" and b"<html" in head.lower():
        return "a web page; download the file itself"
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
        if any(name.startswith("code/") for name in names) or "constants.pkl" in names:
            return f"a TorchScript archive, of which code would be run; of the network in Python {HOW_TO_SAVE}"
        if any(name.startswith(("models/", "archive_format")) for name in names):
            return _SUFFIXES[".pt2"]
        if not any(name.endswith("data.pkl") for name in names):
            return _SUFFIXES.get(file.suffix.lower(), "a zip archive; unpack it")
    return _SUFFIXES.get(file.suffix.lower()) if not head.startswith(b"PK") else None


def _is_safetensors(file: Path, head: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a header of JSON, and the header."""
    return file.suffix.lower() == ".safetensors" or (head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27)


def _without_wrapping(content: Any, path: str | Path, entry: str | None) -> Mapping[Any, Any]:
    """Return the state_dict within what a file holds. ValueError where there is none, or more than one."""
    if isinstance(content, Inert):
        raise ValueError(
            f"{shown(path)} can't be read as weights: it holds a whole {content.kind}, and no code from files is run; "
            f"{HOW_TO_SAVE}"
        )
    if not isinstance(content, Mapping) or not content:
        raise ValueError(
            f"{shown(path)} must hold a state_dict (tensors by name), found {type(content).__name__}; {HOW_TO_SAVE}"
        )
    if entry is not None:
        if not _is_state(content.get(entry)):
            known = [str(name) for name, value in content.items() if _is_state(value)]
            there = (
                f"state_dicts are in {listed(known)}" if known else "there is no state_dict in it but the file's own"
            )
            raise ValueError(f"weights_entry={shown(entry)}: {shown(path)} holds no state_dict of that name; {there}")
        inner: Mapping[Any, Any] = content[entry]
        return inner
    if any(isinstance(value, Tensor) for value in content.values()):
        return content
    wrapped = [name for name in _WRAPPINGS if _is_state(content.get(name))]
    if len(wrapped) > 1:
        raise ValueError(
            f"{shown(path)} holds weights in {' and in '.join(wrapped)}; say which are meant: "
            f"model.weights_entry={wrapped[0]}"
        )
    if wrapped:
        found: Mapping[Any, Any] = content[wrapped[0]]
        return found
    whole = [name for name in _WRAPPINGS if isinstance(content.get(name), Inert)]
    if whole:
        raise ValueError(
            f"{shown(path)} can't be read as weights: its {whole[0]!r} is a whole {content[whole[0]].kind}, and no "
            f"code from files is run; {HOW_TO_SAVE}"
        )
    others = [str(name) for name, value in content.items() if _is_state(value)]
    hint = f"; model.weights_entry={others[0]} takes what lies there" if others else f"; {HOW_TO_SAVE}"
    name, value = next(iter(content.items()))
    raise ValueError(
        f"{shown(path)} must hold a state_dict (tensors by name), found {name!r}: {type(value).__name__}{hint}"
    )


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items() if not _is_extra(k))
    )


def _is_extra(name: object) -> bool:
    return isinstance(name, str) and name.endswith("_extra_state")


def _check(path: str | Path, name: object, tensor: object) -> None:
    """Refuse what is no plain tensor under a name."""
    if isinstance(tensor, Inert):
        raise ValueError(
            f"{shown(path)} can't be read as weights: {name!r} is a {tensor.kind}, and no code from files is run"
        )
    if not isinstance(name, str) or (not isinstance(tensor, Tensor) and not _is_extra(name)):
        raise ValueError(
            f"{shown(path)} must hold a state_dict (tensors by name), found {name!r}: {type(tensor).__name__}; "
            f"{HOW_TO_SAVE}"
        )
    if isinstance(tensor, Tensor):
        is_plain = not (tensor.is_quantized or tensor.is_complex() or tensor.layout != torch.strided or tensor.is_meta)
        if not is_plain:
            what = "quantised" if tensor.is_quantized else "complex" if tensor.is_complex() else str(tensor.layout)
            raise ValueError(f"{shown(path)}: {name} is a {what} tensor; give plain floating-point weights")
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise ValueError(f"{shown(path)}: {name} holds NaN; its training diverged, give an earlier checkpoint")
