import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from effbench.codec.arrangement import Arrangement
from effbench.codec.numbers import encoding_of_integers, encoding_of_patterns, read_integers, read_patterns
from effbench.codec.wire import Reader

SEEDED = settings(deadline=None, derandomize=True, max_examples=80)
INT64 = (-(2**63), 2**63 - 1)
CODERS = ["none", "huffman", "ans", "context"]

coders = st.sampled_from(CODERS)


def written(encoding):
    data = encoding.write()
    assert len(data) == encoding.n_bytes
    return data


def read_all(read, data, *args, **options):
    reader = Reader(data + b"next")
    values = read(reader, *args, **options)
    assert reader.take(4) == b"next"
    return values


@SEEDED
@given(npst.arrays(np.int64, st.integers(0, 60), elements=st.integers(*INT64)), coders)
def test_any_integers_come_back(values, coder):
    data = written(encoding_of_integers(values, coder=coder))
    assert np.array_equal(read_all(read_integers, data, len(values), limits=INT64), values)


@SEEDED
@given(st.integers(1, 60), st.integers(0, 2**32 - 1), coders, st.sampled_from([0.0, -1.0, 1.0]))
def test_integers_without_zero_come_back(n_bits, seed, coder, sign):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 2**n_bits, 50, endpoint=True) * (sign if sign else rng.choice([-1, 1], 50))
    values = values.astype(np.int64)
    values[values == 0] = 1
    data = written(encoding_of_integers(values, without_zero=True, coder=coder))
    assert np.array_equal(read_all(read_integers, data, 50, limits=INT64, without_zero=True), values)


def test_signs_take_one_bit():
    signs = np.random.default_rng(0).choice([-1, 1], 8000)
    assert encoding_of_integers(signs, without_zero=True, coder="none").n_bytes == 3 + 1000
    assert encoding_of_integers(signs, coder="none").n_bytes == 3 + 2000


@SEEDED
@given(st.sampled_from([np.uint8, np.uint16, np.uint32, np.uint64]), st.binary(max_size=800), coders)
def test_bit_patterns_come_back(dtype, content, coder):
    patterns = np.frombuffer(content[: len(content) // 8 * 8], dtype)
    data = written(encoding_of_patterns(patterns, coder=coder))
    assert len(data) <= 1 + patterns.nbytes
    assert np.array_equal(read_all(read_patterns, data, len(patterns), np.dtype(dtype)), patterns)


def floats(rng, dtype):
    """Return weights whose rows and whose signs resemble those of the rows before, as patterns, and their shape."""
    rows = rng.normal(size=(120, 3)) @ rng.normal(size=(3, 100)) * np.exp(rng.normal(size=(120, 1)))
    rows[rng.random(rows.shape) < 0.1] = 0
    patterns = rows.astype(np.float32).view(np.uint32)
    return (patterns >> 16).astype(np.uint16) if dtype == np.uint16 else patterns, rows.shape


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_signs_stay_with_exponents_where_both_are_predicted(dtype):
    patterns, shape = floats(np.random.default_rng(0), dtype)
    patterns = patterns.reshape(-1)
    arrangement = Arrangement.of(shape, patterns.size)
    data = written(encoding_of_patterns(patterns, coder="context", arrangement=arrangement))
    assert data[0] == 254
    assert np.array_equal(
        read_all(read_patterns, data, patterns.size, np.dtype(dtype), arrangement=arrangement), patterns
    )
    n_signs = patterns.size // 8
    assert len(data) < encoding_of_patterns(patterns, coder="ans").n_bytes - n_signs // 4


@pytest.mark.parametrize("special", [0x8000, 0x8001, 0xFF80, 0x7F80, 0x7FC1, 0x0001])
def test_patterns_that_no_stream_of_signs_holds_come_back(special):
    """Zero below zero, the smallest numbers, infinities and NaN, alone or among weights."""
    weights, _ = floats(np.random.default_rng(0), np.uint16)
    for patterns in (np.array([special] * 3, np.uint16), np.append(weights.reshape(-1)[:500], np.uint16(special))):
        data = written(encoding_of_patterns(patterns, coder="context"))
        assert np.array_equal(read_all(read_patterns, data, patterns.size, np.dtype(np.uint16)), patterns)


def test_a_made_up_exponent_is_refused():
    with pytest.raises(ValueError, match="the highest bits of a float are 264"):
        read_patterns(Reader(bytes([254, 200, 0, 128 + 65]) + bytes(9)), 4, np.dtype(np.uint16))
