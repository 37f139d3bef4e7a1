"""One tensor as bytes: its form, then its values in whichever of the kinds below is smallest.

========================  =============================================================================================
kind                      what follows the form
========================  =============================================================================================
FLOATS, INTEGERS          all entries
SPARSE_FLOATS/_INTEGERS   the index of the entries whose bits are not all zero (-0.0 is not zero), then those entries
CODES                     the grid, then all codes
STEPS                     the grid, then all steps (code - zero point, which is what the value is a multiple of)
SPARSE_STEPS              the grid, the index of the steps that are not zero, then those steps
TRELLIS                   the grid, then the codes of `compression.trellis` for all steps, in (shape[0], ...) columns
REPEAT                    (in place of the form) the number of an earlier record with the same bytes: shared weights
SHARED                    the values of a codebook, then all codes: 0 is zero, c the c-th value
SPARSE_SHARED             the values, the index of the codes that are not zero, those codes
========================  =============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from effbench.codec.arrangement import Arrangement
from effbench.codec.forms import TensorForm, from_patterns, to_patterns
from effbench.codec.numbers import (
    Integers,
    Unsigned,
    encoding_of_integers,
    encoding_of_patterns,
    read_integers,
    read_patterns,
)
from effbench.codec.sparse_index import encoding_of_index, read_index
from effbench.codec.streams import Coder
from effbench.codec.wire import Encoding, Reader, damaged, literal, varint
from effbench.compression.constraints.codebook import SharedTensor
from effbench.compression.constraints.quantizer import QuantizedTensor

_INT32 = (-(2**31), 2**31 - 1)
_HALF_INT32 = (-(2**30), 2**30 - 1)
_POWERS, _MAX_GRID = 256, 4 * 32 + 3


class RecordKind(IntEnum):
    """The first byte of a record. Append only."""

    FLOATS = 0
    SPARSE_FLOATS = 1
    INTEGERS = 2
    SPARSE_INTEGERS = 3
    CODES = 4
    STEPS = 5
    SPARSE_STEPS = 6
    REPEAT = 7
    SHARED = 8
    SPARSE_SHARED = 9
    TRELLIS = 10


_ON_A_GRID = (RecordKind.CODES, RecordKind.STEPS, RecordKind.SPARSE_STEPS, RecordKind.TRELLIS)
Encodings = Iterator[tuple[RecordKind, Encoding]]


def write_record(value: Tensor | QuantizedTensor | SharedTensor, form: TensorForm, /, *, coder: Coder) -> bytes:
    """Return the record of a tensor of the given form, in the smallest kind."""
    if isinstance(value, QuantizedTensor):
        encodings = _quantized_encodings(value, coder)
    elif isinstance(value, SharedTensor):
        encodings = _shared_encodings(value, coder)
    elif form.is_integer:
        encodings = _integer_encodings(value, coder)
    else:
        encodings = _float_encodings(value, coder)
    kind, encoding = min(encodings, key=lambda candidate: candidate[1].n_bytes)
    return bytes([kind]) + form.to_bytes() + encoding.write()


def write_repeat(record: int, /) -> bytes:
    """Return a record that says: the same as the record of this number."""
    return bytes([RecordKind.REPEAT]) + varint(record)


def read_record(
    reader: Reader, form: TensorForm, earlier: Sequence[Tensor | QuantizedTensor], /
) -> Tensor | QuantizedTensor:
    """Return what the next record holds, on the CPU: a tensor, or codes on a grid.

    form: what the network expects; a record of another form is a ValueError before anything is allocated.
    earlier: what the records before this one hold.
    """
    kind = reader.byte()
    if kind >= len(RecordKind):
        raise damaged(f"a record has the unknown kind {kind}")
    if kind == RecordKind.REPEAT:
        repeated = earlier[reader.varint("the number of an earlier record", at_most=len(earlier) - 1)]
        value = value_of(repeated, form)
        if TensorForm(value.dtype, tuple(value.shape)) != form:
            raise damaged("a record repeats one of another form")
        return repeated
    form.check_bytes(reader)
    if form.is_integer != (kind in (RecordKind.INTEGERS, RecordKind.SPARSE_INTEGERS)):
        raise damaged(f"a record of {form.dtype} has the kind {RecordKind(kind).name}")
    if kind in (RecordKind.FLOATS, RecordKind.SPARSE_FLOATS):
        return from_patterns(_read_floats(reader, form, is_sparse=kind == RecordKind.SPARSE_FLOATS), form)
    if form.dtype.is_complex and kind in _ON_A_GRID:
        raise damaged("complex numbers have no grid")
    if kind in (RecordKind.SHARED, RecordKind.SPARSE_SHARED):
        return from_patterns(_read_shared(reader, form, is_sparse=kind == RecordKind.SPARSE_SHARED), form)
    if form.is_integer:
        values = _read_integers(reader, form, form.limits, is_sparse=kind == RecordKind.SPARSE_INTEGERS)
        return torch.from_numpy(values).to(form.dtype).reshape(form.shape)
    return _read_quantized(reader, form, RecordKind(kind))


def value_of(stored: Tensor | QuantizedTensor, form: TensorForm, /) -> Tensor:
    """Return the tensor that a record stands for."""
    return stored.dequantize().to(form.dtype) if isinstance(stored, QuantizedTensor) else stored


def _float_encodings(value: Tensor, coder: Coder) -> Encodings:
    patterns = to_patterns(value)
    arrangement = Arrangement.of(value.shape, len(patterns))
    yield RecordKind.FLOATS, encoding_of_patterns(patterns, coder=coder, arrangement=arrangement)
    positions = np.flatnonzero(patterns)
    if len(positions) < len(patterns):
        index = encoding_of_index(positions, len(patterns), coder=coder, arrangement=arrangement)
        yield RecordKind.SPARSE_FLOATS, index + encoding_of_patterns(patterns[positions], coder=coder)


def _read_floats(reader: Reader, form: TensorForm, *, is_sparse: bool) -> Unsigned:
    arrangement = Arrangement.of(form.shape, form.n_entries)
    if not is_sparse:
        return read_patterns(reader, form.n_entries, form.pattern_dtype, arrangement=arrangement)
    positions = read_index(reader, form.n_entries, arrangement=arrangement)
    patterns = np.zeros(form.n_entries, form.pattern_dtype)
    patterns[positions] = read_patterns(reader, len(positions), form.pattern_dtype)
    return patterns


def _integer_encodings(value: Tensor, coder: Coder) -> Encodings:
    integers = _flat(value)
    arrangement = Arrangement.of(value.shape, len(integers))
    yield RecordKind.INTEGERS, encoding_of_integers(integers, coder=coder, arrangement=arrangement)
    yield RecordKind.SPARSE_INTEGERS, _sparse_encoding(integers, coder, arrangement)


def _sparse_encoding(integers: Integers, coder: Coder, arrangement: Arrangement) -> Encoding:
    """Return the encoding of an index and the integers that are not zero.

    Worth its few bytes even where none is zero: signs then take one bit each.
    """
    positions = np.flatnonzero(integers)
    if coder == "context" and len(integers) and int(integers.max()) - int(integers.min()) < 256:
        coder = (
            "ans"  # all entries in one stream predict zeros and values together; this is for those without a pattern
        )
    nonzero = encoding_of_integers(integers[positions], without_zero=True, coder=coder)
    return encoding_of_index(positions, len(integers), coder=coder, arrangement=arrangement) + nonzero


def _read_integers(reader: Reader, form: TensorForm, limits: tuple[int, int], *, is_sparse: bool) -> Integers:
    arrangement = Arrangement.of(form.shape, form.n_entries)
    if not is_sparse:
        return read_integers(reader, form.n_entries, limits=limits, arrangement=arrangement)
    positions = read_index(reader, form.n_entries, arrangement=arrangement)
    integers = np.zeros(form.n_entries, np.int64)
    integers[positions] = read_integers(reader, len(positions), limits=limits, without_zero=True)
    return integers


def _quantized_encodings(value: QuantizedTensor, coder: Coder) -> Encodings:
    """Yield the encodings of codes and of steps, each after the grid.

    The grid is a varint (256 * powers of two + 4 * bits + 2 * one grid per slice + 1 * zero points follow), the scales,
    the zero points.
    """
    has_zero_points = bool(value.zero_point.any())
    grid = literal(varint(_POWERS * value.is_power + 4 * value.bits + 2 * (value.scale.ndim > 0) + has_zero_points))
    grid += encoding_of_patterns(to_patterns(value.scale), coder=coder)
    if has_zero_points:
        grid += encoding_of_integers(_flat(value.zero_point), coder=coder)
    codes = _flat(value.codes)
    arrangement = Arrangement.of(value.codes.shape, len(codes))
    if value.is_trellis and not has_zero_points:
        in_trellis = _trellis_codes(codes, arrangement)
        if in_trellis is not None:
            as_codes = replace(arrangement, is_trellis=True)
            yield RecordKind.TRELLIS, grid + encoding_of_integers(in_trellis, coder=coder, arrangement=as_codes)
    yield RecordKind.CODES, grid + encoding_of_integers(codes, coder=coder, arrangement=arrangement)
    zero_points = _flat(value.zero_point)
    steps = codes - np.repeat(zero_points, len(codes) // max(1, len(zero_points)))
    if has_zero_points:
        yield RecordKind.STEPS, grid + encoding_of_integers(steps, coder=coder, arrangement=arrangement)
    yield RecordKind.SPARSE_STEPS, grid + _sparse_encoding(steps, coder, arrangement)


def _read_quantized(reader: Reader, form: TensorForm, kind: RecordKind) -> QuantizedTensor:
    head = reader.varint("the head of a grid", at_most=_POWERS + _MAX_GRID)
    is_power, head = divmod(head, _POWERS)
    if head > _MAX_GRID or (is_power and head & 1):
        raise damaged(f"the head of a grid is {is_power * _POWERS + head}, which no grid has")
    if head & 2 and not form.shape:
        raise damaged("a single value can't have one grid per slice")
    grid_shape = form.shape[:1] if head & 2 else ()
    n_grids = grid_shape[0] if grid_shape else 1
    scale = from_patterns(read_patterns(reader, n_grids, np.dtype(np.uint32)), TensorForm(torch.float32, grid_shape))
    zero_points = read_integers(reader, n_grids, limits=_INT32) if head & 1 else np.zeros(n_grids, np.int64)
    if kind == RecordKind.TRELLIS:
        integers = _read_trellis(reader, form)
    else:
        integers = _read_integers(reader, form, _INT32, is_sparse=kind == RecordKind.SPARSE_STEPS)
    if kind in (RecordKind.STEPS, RecordKind.SPARSE_STEPS):
        integers += np.repeat(zero_points, len(integers) // max(1, n_grids))
    return QuantizedTensor(
        codes=torch.from_numpy(integers).to(torch.int32).reshape(form.shape),
        scale=scale,
        zero_point=torch.from_numpy(zero_points).to(torch.int32).reshape(grid_shape),
        bits=head >> 2,
        is_power=bool(is_power),
    )


def _trellis_codes(multiples: Integers, arrangement: Arrangement) -> Integers | None:
    """Return the codes of multiples of a step, (n_entries,); None where the machine does not allow them."""
    from effbench.compression import trellis

    codes, fits = trellis.codes_of(multiples.reshape(arrangement.n_rows, arrangement.length))
    return codes.reshape(-1) if fits else None


def _read_trellis(reader: Reader, form: TensorForm) -> Integers:
    """Return the multiples of a step for which codes stand, (n_entries,)."""
    from effbench.compression import trellis

    arrangement = replace(Arrangement.of(form.shape, form.n_entries), is_trellis=True)
    codes = read_integers(reader, form.n_entries, limits=_HALF_INT32, arrangement=arrangement)
    multiples: Integers = trellis.multiples_of(codes.reshape(arrangement.n_rows, arrangement.length)).reshape(-1)
    return multiples


def _shared_encodings(value: SharedTensor, coder: Coder) -> Encodings:
    """Yield the encodings of codes, each after the values: how many (a varint), their patterns.

    Unused values are left out. Where nearly every entry has a value of its own, the floats themselves are smaller.
    """
    codes = _flat(value.codes)
    is_used = np.bincount(codes, minlength=value.values.numel() + 1) > 0
    is_used[0] = False
    codes = np.where(codes > 0, np.cumsum(is_used)[codes], 0)
    patterns = to_patterns(value.values)[is_used[1:]]
    values = literal(varint(len(patterns))) + encoding_of_patterns(patterns, coder=coder)
    arrangement = Arrangement.of(value.codes.shape, len(codes))
    yield RecordKind.SHARED, values + encoding_of_integers(codes, coder=coder, arrangement=arrangement)
    yield RecordKind.SPARSE_SHARED, values + _sparse_encoding(codes, coder, arrangement)
    yield from _float_encodings(value.dequantize(), coder)


def _read_shared(reader: Reader, form: TensorForm, *, is_sparse: bool) -> Unsigned:
    n_values = reader.varint("the number of shared values", at_most=form.n_entries)
    table = np.zeros(n_values + 1, form.pattern_dtype)
    table[1:] = read_patterns(reader, n_values, form.pattern_dtype)
    return table[_read_integers(reader, form, (0, n_values), is_sparse=is_sparse)]


def _flat(integers: Tensor) -> Integers:
    """Return the entries in row-major order, (n_entries,)."""
    flat: Integers = integers.detach().cpu().reshape(-1).to(torch.int64).numpy()
    return flat
