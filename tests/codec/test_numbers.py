import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

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
