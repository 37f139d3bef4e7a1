"""Soft labels from a file, in the place of a teacher: what each training example's classes are worth."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import torch
from torch import Tensor

from effbench.checks.errors import first_line
from effbench.data import ImageData
from effbench.data.paths import remark, shown
from effbench.models.inert_pickles import load_inertly

Kind = Literal["auto", "logits", "probabilities"]
FINGERPRINT = "fingerprint"
_NAMES = ("logits", "probabilities", "labels")
"""Under which of these a file of several tensors holds the labels; the first two say what they are."""
_TOLERANCE = 1e-2
"""How far a row's sum may be from 1 for probabilities: they may be of half precision."""
_SUFFIXES = (".npy", ".npz", ".safetensors", ".pt", ".pth")


@dataclass(frozen=True, kw_only=True)
class SoftLabels:
    """The labels of a training split, by the numbers of its examples."""

    logits: Tensor
    """float32 (n_examples, n_classes, …). A row of NaN: that example has none."""
    fingerprint: str | None
    """Of the data that they are for; None: the file does not say."""

    def check(self, data: ImageData, /, *, path: str) -> None:
        """Refuse labels of other data: ValueError. Where only their shape can be compared, that is said in a line."""
        expected = (data.n_examples("train"), data.n_classes)
        if tuple(self.logits.shape[:2]) != expected:
            turned = "; turn it (.T)" if tuple(self.logits.shape) == expected[::-1] else ""
            raise ValueError(
                f"labels={shown(path)}: is {_size(self.logits)}, and must be {expected[0]} × {expected[1]}: a row for "
                f"each example of {data.name}'s training split, in their order, and a column for each class{turned}"
            )
        if self.fingerprint is None:
            remark(f"{shown(path)} does not say for which data it is: only its shape is compared with theirs")
        elif self.fingerprint != data.fingerprint:
            raise ValueError(
                f"labels={shown(path)}: is for data of fingerprint {shown(self.fingerprint)}, and {data.name} has "
                f"{data.fingerprint}: other images, splits or preparation"
            )


def read_labels(path: str, kind: Kind, /) -> SoftLabels:
    """Return the labels of a file: .npy, .npz, .safetensors, or what torch.save made of a tensor.

    What they are, logits or probabilities, the file says by the name of the array, else `kind`, else their sums: rows
    that sum to 1 are probabilities. A fingerprint lies in the file beside them, or in <file>.json of a .npy. ValueError
    that begins with "labels=" for what is no such file.
    """
    try:
        values, named, fingerprint = _read(Path(path).expanduser())
    except _NoLabelsError as error:
        raise ValueError(f"labels={shown(path)}: {error}") from None
    except Exception as error:  # a damaged file can fail in any way
        reason = getattr(error, "strerror", None) or first_line(error) or "it is cut short"
        raise ValueError(f"labels={shown(path)}: can't be read ({shown(reason)})") from None
    try:
        return SoftLabels(logits=_as_logits(values, kind, named), fingerprint=fingerprint)
    except ValueError as error:
        raise ValueError(f"labels={shown(path)}: {error}") from None


def pack_labels(logits: Tensor, fingerprint: str, /) -> bytes:
    """Return labels as a .npz that `read_labels` reads back to the bit."""
    stream = io.BytesIO()
    np.savez_compressed(stream, logits=logits.numpy(), fingerprint=np.array(fingerprint))
    return stream.getvalue()


class _NoLabelsError(ValueError):
    """What is wrong with a file that can be read."""


def _read(path: Path) -> tuple[Tensor, str | None, str | None]:
    """Return a file's labels, the name that they have in it, and the fingerprint beside them."""
    if path.is_dir():
        raise _NoLabelsError("is a folder; name the file in it")
    if not path.is_file():
        raise _NoLabelsError("there is no such file")
    match path.suffix.lower():
        case ".npy":
            with path.open("rb") as stream:
                array = np.load(stream, allow_pickle=False)
            about = _sidecar(path)
            return _tensor(array), _name_in(about.get("kind")), about.get(FINGERPRINT)
        case ".npz":
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            return _one_of(arrays, arrays.get(FINGERPRINT))
        case ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                return _one_of(tensors, (file.metadata() or {}).get(FINGERPRINT))
        case ".pt" | ".pth":
            content = load_inertly(path)
            if isinstance(content, Mapping):
                return _one_of(content, content.get(FINGERPRINT))
            return _tensor(content), None, None
    raise _NoLabelsError(f"must be one of {', '.join(_SUFFIXES)}")


def _sidecar(path: Path) -> dict[str, Any]:
    """Return what lies in <file>.json, {} where there is none."""
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file():
        return {}
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get(FINGERPRINT, ""), str):
        raise _NoLabelsError(f'{beside.name} beside it must be as {{"fingerprint": "…", "kind": "logits"}}')
    return content


def _one_of(content: Mapping[str, Any], fingerprint: Any) -> tuple[Tensor, str | None, str | None]:
    found = [name for name in _NAMES if name in content]
    alone = [name for name in content if name != FINGERPRINT]
    if len(found) > 1 or not (found or len(alone) == 1):
        raise _NoLabelsError(f"must hold one array, logits or probabilities; it holds {', '.join(map(str, content))}")
    name = found[0] if found else alone[0]
    return _tensor(content[name]), _name_in(name), None if fingerprint is None else str(fingerprint)


def _name_in(name: Any) -> str | None:
    return name if name in ("logits", "probabilities") else None


def _tensor(values: Any) -> Tensor:
    """Return labels as float32. ValueError for what are none."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "fiub":
            raise _NoLabelsError(f"must hold numbers, found {values.dtype}")
        values = torch.from_numpy(np.ascontiguousarray(values.astype(np.float32)))
    if not isinstance(values, Tensor):
        raise _NoLabelsError(f"must hold an array of numbers, found {type(values).__name__}")
    if values.ndim < 2 or values.is_complex():
        raise _NoLabelsError(
            f"must have a row for each example and a column for each class, found {_size(values)} {values.dtype}"
        )
    return values.detach().float().contiguous()


def _as_logits(values: Tensor, kind: Kind, named: str | None) -> Tensor:
    """Return labels as logits. ValueError for rows that are half missing, infinite, or no probabilities."""
    flat = values.flatten(1)
    missing = flat.isnan().all(dim=1)
    _refuse_rows(
        flat.isnan().any(dim=1) & ~missing, "is partly NaN: a label is whole, or a row of NaN where there is none"
    )
    if bool(missing.all()):
        raise ValueError("has no label: every row is NaN")
    if named is not None and kind not in ("auto", named):
        raise ValueError(f"says that it holds {named}, and labels_are={kind}")
    known = values[~missing]
    off = (known.sum(dim=1) - 1).abs().reshape(len(known), -1).amax(dim=1)
    fits = (known.flatten(1).amin(dim=1) >= 0) & (off <= _TOLERANCE)
    decided = named or (kind if kind != "auto" else "probabilities" if bool(fits.all()) else "logits")
    if decided == "probabilities":
        wrong = torch.zeros_like(missing)
        wrong[~missing] = ~fits
        _refuse_rows(wrong, "does not sum to 1, as probabilities do; give labels_are=logits if they are none")
        # Of a class that is impossible the least logit that a float32 can say: minus infinity has no gradient.
        return torch.where(values.isnan(), values, values.clamp_min(torch.finfo(torch.float32).tiny).log())
    _refuse_rows(flat.isinf().any(dim=1), "is infinite")
    return values


def _refuse_rows(wrong: Tensor, what: str) -> None:
    if bool(wrong.any()):
        rows = wrong.nonzero().flatten().tolist()
        more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        raise ValueError(f"row {rows[0]}{more} {what}")


def _size(tensor: Tensor) -> str:
    return " × ".join(map(str, tensor.shape)) or "one number"
