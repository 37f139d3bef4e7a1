"""Tensors as bit patterns, so that every value comes back as it was: -0.0, the payload of a NaN, a bool."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from effbench.codec.numbers import Unsigned
from effbench.codec.wire import Reader, damaged, varint

DTYPE_NUMBERS = {
    torch.bool: 0,
    torch.uint8: 1,
    torch.int8: 2,
    torch.int16: 3,
    torch.int32: 4,
    torch.int64: 5,
    torch.float16: 6,
    torch.bfloat16: 7,
    torch.float32: 8,
    torch.float64: 9,
    torch.complex64: 10,
    torch.complex128: 11,
    torch.float8_e4m3fn: 12,
    torch.float8_e5m2: 13,
}
"""The number of each type in a file: append only."""
_DTYPES = {number: dtype for dtype, number in DTYPE_NUMBERS.items()}
_MAX_DTYPES = 24
_MAX_DIMENSIONS = 64
_SHOWN_DIMENSIONS = 8
_SAME_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class TensorForm:
    """What a tensor is without its values."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor, name: str, /) -> TensorForm:
        """Return the form of a tensor. ValueError, with its name, when the file can't hold it."""
        if tensor.dtype not in DTYPE_NUMBERS or tensor.layout != torch.strided:
            raise ValueError(f"{name} is a {tensor.layout} tensor of {tensor.dtype}, which the file format can't hold")
        if tensor.is_meta:
            raise ValueError(f"{name} is on the meta device: it has no values")
        if any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True)):
            raise ValueError(f"{name} is an expanded tensor, which can't be filled again: register a contiguous copy")
        return cls(tensor.dtype, tuple(tensor.shape))

    @property
    def n_entries(self) -> int:
        """Entries of the tensor; a complex one has two, a real and an imaginary one."""
        return math.prod(self.shape) * (2 if self.dtype.is_complex else 1)

    @property
    def pattern_dtype(self) -> np.dtype[np.unsignedinteger]:
        """The unsigned integer of an entry's size."""
        return np.dtype(f"u{self.dtype.itemsize // (2 if self.dtype.is_complex else 1)}")

    @property
    def is_integer(self) -> bool:
        """Whether the entries are integers or bools."""
        return not self.dtype.is_floating_point and not self.dtype.is_complex

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and highest value of an integer or bool entry."""
        if self.dtype == torch.bool:
            return 0, 1
        return torch.iinfo(self.dtype).min, torch.iinfo(self.dtype).max

    def to_bytes(self) -> bytes:
        """Return type and number of dimensions in a varint (one byte up to five dimensions), then the dimensions."""
        kind = len(self.shape) * _MAX_DTYPES + DTYPE_NUMBERS[self.dtype]
        return b"".join(map(varint, (kind, *self.shape)))

    def check_bytes(self, reader: Reader) -> None:
        """Read a form and make sure that it is this one. Nothing is allocated for a tensor before."""
        n_dimensions, dtype = divmod(
            reader.varint("the type of a tensor", at_most=_MAX_DTYPES * (_MAX_DIMENSIONS + 1)), _MAX_DTYPES
        )
        shape = tuple(reader.varint("a dimension", at_most=2**63 - 1) for _ in range(n_dimensions))
        if dtype != DTYPE_NUMBERS[self.dtype] or shape != self.shape:
            held_dtype = str(_DTYPES[dtype]) if dtype in _DTYPES else f"type {dtype}"
            held_shape = shape if len(shape) <= _SHOWN_DIMENSIONS else f"of {len(shape)} dimensions"
            raise damaged(f"it holds {held_dtype} {held_shape} where the network has {self.dtype} {self.shape}")


def to_patterns(tensor: Tensor, /) -> Unsigned:
    """Return the bit patterns of a tensor's entries in row-major order, (n_entries,), unsigned of their size."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    plain = (torch.view_as_real(plain) if plain.is_complex() else plain).contiguous().reshape(-1)
    patterns: Unsigned = plain.view(_SAME_SIZE[plain.dtype.itemsize]).numpy()
    return patterns.view(f"u{plain.dtype.itemsize}")


def from_patterns(patterns: Unsigned, form: TensorForm, /) -> Tensor:
    """Return the tensor of these bit patterns, (n_entries,); it shares their memory."""
    signed = patterns if patterns.itemsize == 1 else patterns.view(f"i{patterns.itemsize}")
    entries = torch.from_numpy(signed)
    if not form.dtype.is_complex:
        return entries.view(form.dtype).reshape(form.shape)
    real = torch.float32 if form.dtype == torch.complex64 else torch.float64
    return torch.view_as_complex(entries.view(real).reshape(*form.shape, 2))
