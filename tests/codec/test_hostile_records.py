"""Made-up content under a right checksum: each check of the reader says what is wrong."""

import time
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from effbench.codec import container, decode
from effbench.codec.forms import TensorForm
from effbench.codec.numbers import read_integers
from effbench.codec.sparse_index import read_index
from effbench.codec.streams import MIN_LANED, encoding_of_symbols, read_symbols
from effbench.codec.tensor_record import RecordKind as Kind
from effbench.codec.wire import Reader, signed_varint, varint


def sealed(body):
    """Give made-up bytes a checksum that is right."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def first_record_of(template):
    """Return the bytes before the records of a file for `template`."""
    tensors = container._state(template)
    return b"eff\x01\x01" + container._fingerprint(tensors) + varint(len(tensors))


LINEAR = TensorForm(torch.float32, (64, 64)).to_bytes()
GRID = bytes([4 * 8]) + b"\xff" + bytes(4)
TWO_VALUES = bytes([2]) + b"\xff" + bytes(8)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (bytes([99]), "unknown kind 99"),
        (bytes([Kind.REPEAT, 0]), "earlier record"),
        (bytes([Kind.REPEAT, 200, 200, 1]), "earlier record"),
        (bytes([Kind.FLOATS]) + TensorForm(torch.float32, (2**40, 2**40)).to_bytes(), "where the network has"),
        (bytes([Kind.FLOATS]) + TensorForm(torch.float32, (64, 64, 1)).to_bytes(), "where the network has"),
        (bytes([Kind.FLOATS]) + TensorForm(torch.float16, (64, 64)).to_bytes(), "where the network has"),
        (
            bytes([Kind.FLOATS]) + TensorForm(torch.float32, (2**62,) * 40).to_bytes(),
            "it holds torch.float32 of 40 dim",
        ),
        (bytes([Kind.FLOATS, 2 * 24 + 23, 64, 64]), "type 23"),
        (bytes([Kind.FLOATS]) + b"\xff" * 30, "no end|at most"),
        (bytes([Kind.INTEGERS]) + LINEAR, "kind INTEGERS"),
        (bytes([Kind.FLOATS]) + LINEAR + bytes([18]), "written by the context coder of effbench 0.1"),
        (bytes([Kind.FLOATS]) + LINEAR + bytes([20]), "unknown form 20"),
        (bytes([Kind.FLOATS]) + LINEAR + bytes([255]), "more bytes are needed"),
        (bytes([Kind.FLOATS]) + LINEAR + bytes([1]), "don't fit"),
        (bytes([Kind.FLOATS]) + LINEAR + bytes([9, 0b11100010]), "more bytes are needed|damaged"),
        (bytes([Kind.SPARSE_FLOATS]) + LINEAR + bytes([9]), "unknown form 9"),
        (bytes([Kind.SPARSE_FLOATS]) + LINEAR + bytes([8]) + varint(4097), "non-zero entries is 4097"),
        (bytes([Kind.SPARSE_FLOATS]) + LINEAR + bytes([8]) + varint(10) + varint(2**62), "escapes"),
        (
            bytes([Kind.SPARSE_FLOATS]) + LINEAR + bytes([8]) + varint(100) + varint(0) + bytes([0, 200]),
            "does not lead",
        ),
        (bytes([Kind.SPARSE_FLOATS]) + LINEAR + bytes([8]) + varint(10) + varint(0) + bytes([0, 255]), "does not lead"),
        (bytes([Kind.SPARSE_FLOATS]) + LINEAR + bytes([2]) + varint(10) + varint(0) + bytes([0, 200]), "does not lead"),
        (bytes([Kind.CODES]) + LINEAR + GRID + signed_varint(0) + bytes([65]), "integers of 65 bits"),
        (bytes([Kind.CODES]) + LINEAR + GRID + signed_varint(-(2**40)) + bytes([0]), "is possible"),
        (bytes([Kind.CODES]) + LINEAR + GRID + signed_varint(2**31 - 1) + bytes([1, 0, 1]), "is possible"),
        (bytes([Kind.CODES]) + LINEAR + GRID + signed_varint(0) + bytes([3, 0, 9]), "a symbol of 3 bits is 9"),
        (bytes([Kind.CODES]) + LINEAR + varint(9999), "head of a grid"),
        (bytes([Kind.SHARED]) + LINEAR + varint(4097), "number of shared values is 4097"),
        (bytes([Kind.SHARED]) + LINEAR + varint(2**62), "number of shared values is"),
        (bytes([Kind.SHARED]) + LINEAR + varint(4096) + b"\xff" + bytes(99), "more bytes are needed"),
        (bytes([Kind.SHARED]) + LINEAR + TWO_VALUES + signed_varint(-1) + bytes([0]), "0 to 2 is possible"),
        (bytes([Kind.SHARED]) + LINEAR + TWO_VALUES + signed_varint(3) + bytes([0]), "0 to 2 is possible"),
        (bytes([Kind.SHARED]) + LINEAR + TWO_VALUES + signed_varint(0) + bytes([2, 0, 3]), "from 0 to 3"),
        (bytes([Kind.SHARED]) + LINEAR + varint(0) + signed_varint(1) + bytes([0]), "0 to 0 is possible"),
        (bytes([Kind.SHARED]) + LINEAR + TWO_VALUES + signed_varint(0) + bytes([65]), "integers of 65 bits"),
        (bytes([Kind.SPARSE_SHARED]) + LINEAR + TWO_VALUES + bytes([8]) + varint(4097), "non-zero entries is 4097"),
        (
            bytes([Kind.SPARSE_SHARED]) + LINEAR + TWO_VALUES + bytes([0, 0, 0xFF]) + signed_varint(3) + bytes([0]),
            "0 to 2 is possible",
        ),
        (bytes([Kind.CODES]) + LINEAR + varint(200), "which no grid has"),
        (bytes([Kind.CODES]) + LINEAR + varint(256 + 4 * 4 + 1), "which no grid has"),
    ],
)
def test_made_up_records_say_what_is_wrong(record, reason):
    linear = nn.ModuleDict({"layer": nn.Linear(64, 64, bias=False)})
    with pytest.raises(ValueError, match=reason):
        decode(sealed(first_record_of(linear) + record), linear)


@pytest.mark.parametrize("kind", [Kind.CODES, Kind.STEPS, Kind.SPARSE_STEPS])
def test_a_complex_tensor_has_no_grid(kind):
    spectrum = nn.Module()
    spectrum.register_buffer("spectrum", torch.zeros(4, dtype=torch.complex64))
    record = bytes([kind]) + TensorForm(torch.complex64, (4,)).to_bytes() + GRID + signed_varint(0) + bytes([0])
    with pytest.raises(ValueError, match="complex numbers have no grid"):
        decode(sealed(first_record_of(spectrum) + record), spectrum)


@pytest.mark.parametrize("kind", [Kind.SHARED, Kind.SPARSE_SHARED])
def test_integers_are_not_shared(kind):
    flags = nn.Module()
    flags.register_buffer("flags", torch.zeros(8, dtype=torch.int32))
    record = bytes([kind]) + TensorForm(torch.int32, (8,)).to_bytes() + TWO_VALUES + signed_varint(1) + bytes([0])
    with pytest.raises(ValueError, match=f"has the kind {kind.name}"):
        decode(sealed(first_record_of(flags) + record), flags)


def test_a_bool_is_zero_or_one():
    flags = nn.Module()
    flags.register_buffer("flags", torch.zeros(8, dtype=torch.bool))
    record = bytes([Kind.INTEGERS]) + TensorForm(torch.bool, (8,)).to_bytes() + signed_varint(2) + bytes([0])
    with pytest.raises(ValueError, match="0 to 1 is possible"):
        decode(sealed(first_record_of(flags) + record), flags)


def test_lanes_that_do_not_meet_are_refused():
    symbols = np.minimum(np.random.default_rng(0).geometric(0.4, MIN_LANED) - 1, 20).astype(np.uint8)
    data = encoding_of_symbols(symbols, coder="huffman").write()
    rng = np.random.default_rng(5)
    n_refused = 0
    for _ in range(300):
        changed = bytearray(data)
        changed[rng.integers(0, 20)] = rng.integers(0, 256)
        reader = Reader(bytes(changed))
        try:
            read_symbols(reader, len(symbols))
        except ValueError:
            n_refused += 1
    assert n_refused > 200


def test_a_few_bytes_never_become_many():
    # Each of these asks for far more symbols than its bytes can hold; the caller's bound is 10**9 entries.
    tracemalloc.start()
    start = time.perf_counter()
    for data in (bytes([1]) * 50, bytes([8]) * 50, bytes([9, 0b11100011, 0b11000100, 0]) * 20):
        with pytest.raises(ValueError, match="damaged"):
            read_symbols(Reader(data), 10**9)
    for data in (bytes([0, 1]) * 50, bytes([8]) + varint(10**9) + varint(0) + bytes([3]) * 50):
        with pytest.raises(ValueError, match="damaged"):
            read_index(Reader(data), 10**9)
    with pytest.raises(ValueError, match="damaged"):
        read_integers(Reader(signed_varint(0) + bytes([40]) + bytes([7]) * 50), 10**6, limits=(0, 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert time.perf_counter() - start < 2
