import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from effbench.codec import huffman, streams
from effbench.codec.numbers import encoding_of_integers, encoding_of_patterns, read_integers, read_patterns
from effbench.codec.sparse_index import encoding_of_index, read_index
from effbench.codec.wire import Reader

SEEDED = settings(deadline=None, derandomize=True, max_examples=80)
INT64 = (-(2**63), 2**63 - 1)
CODERS = ["none", "huffman", "ans", "context"]

coders = st.sampled_from(CODERS)


def written(plan):
    data = plan.write()
    assert len(data) == plan.n_bytes
    return data


def read_all(read, data, *args, **options):
    reader = Reader(data + b"next")
    values = read(reader, *args, **options)
    assert reader.take(4) == b"next"
    return values


def assert_stream_returns(symbols, coder, arrangement=None):
    data = written(streams.encoding_of_symbols(symbols, coder=coder, arrangement=arrangement))
    assert np.array_equal(read_all(streams.read_symbols, data, len(symbols), arrangement=arrangement), symbols)
    return data


@SEEDED
@given(npst.arrays(np.uint8, st.integers(0, 400), elements=st.integers(0, 255)), coders)
def test_symbols_come_back(symbols, coder):
    assert_stream_returns(symbols, coder)


@SEEDED
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.9), st.integers(1, 9000), coders)
def test_skewed_symbols_come_back(seed, p, n_symbols, coder):
    symbols = np.minimum(np.random.default_rng(seed).geometric(p, n_symbols) - 1, 255).astype(np.uint8)
    assert_stream_returns(symbols, coder)


@SEEDED
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.9), st.integers(1, 2000))
def test_a_better_coder_never_takes_more(seed, p, n_symbols):
    symbols = np.minimum(np.random.default_rng(seed).geometric(p, n_symbols) - 1, 255).astype(np.uint8)
    sizes = [streams.encoding_of_symbols(symbols, coder=coder).n_bytes for coder in CODERS]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("n_more", range(-1, 10))
def test_lanes_of_every_remainder_come_back(n_more):
    n_symbols = streams.MIN_LANED + n_more
    symbols = np.minimum(np.random.default_rng(n_more + 1).geometric(0.3, n_symbols) - 1, 40).astype(np.uint8)
    assert assert_stream_returns(symbols, "huffman")[0] == streams.HUFFMAN


def test_codes_of_the_greatest_length_come_back():
    symbols = np.repeat(np.arange(18), 2 ** np.arange(18)).astype(np.uint8)
    np.random.default_rng(0).shuffle(symbols)
    assert huffman.limited_lengths(np.bincount(symbols, minlength=256), limit=15).max() == 15
    assert_stream_returns(symbols, "huffman")
    # Rare symbols side by side: the most bits that a pair can take.
    assert_stream_returns(np.sort(symbols), "huffman")


@pytest.mark.parametrize("width", range(1, 9))
def test_packing_takes_exactly_the_width(width):
    symbols = np.random.default_rng(width).integers(0, 2**width, 1001).astype(np.uint8)
    symbols[0] = 2**width - 1
    data = assert_stream_returns(symbols, "none")
    assert data[0] == width
    assert len(data) == 1 + -(-1001 * width // 8)


def test_a_constant_is_two_bytes():
    assert assert_stream_returns(np.full(10**6, 200, np.uint8), "huffman") == bytes([streams.CONSTANT, 200])


@pytest.mark.parametrize("n_symbols", [10**5, 10**6])
@pytest.mark.parametrize("scale", [0.4, 2, 12, 40])
def test_within_one_percent_of_huffman_without_limit(n_symbols, scale):
    rng = np.random.default_rng(0)
    symbols = np.clip(np.round(rng.laplace(0, scale, n_symbols)) + 128, 0, 255).astype(np.uint8)
    counts = np.bincount(symbols, minlength=256)
    bound = int(counts @ huffman.limited_lengths(counts, limit=60)) / 8
    assert bound <= len(assert_stream_returns(symbols, "huffman")) <= 1.01 * bound


def test_the_estimate_from_counts_is_the_size():
    symbols = np.minimum(np.random.default_rng(0).geometric(0.2, 5000) - 1, 60).astype(np.uint8)
    for coder in ("none", "huffman"):
        estimate = streams.stream_bytes(np.bincount(symbols, minlength=256), coder=coder)
        assert estimate == streams.encoding_of_symbols(symbols, coder=coder).n_bytes


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


@SEEDED
@given(st.integers(0, 5000), st.floats(0, 1), st.integers(0, 2**32 - 1), coders)
def test_positions_come_back(n_entries, density, seed, coder):
    positions = np.flatnonzero(np.random.default_rng(seed).random(n_entries) < density**3)
    data = written(encoding_of_index(positions, n_entries, coder=coder))
    assert np.array_equal(read_all(read_index, data, n_entries), positions)


@pytest.mark.parametrize("positions", [[], [0], [99_999], [0, 99_999], [253, 254, 255, 256, 511, 512, 5000]])
def test_far_positions_come_back(positions):
    for coder in CODERS:
        data = written(encoding_of_index(np.array(positions, np.int64), 100_000, coder=coder))
        assert read_all(read_index, data, 100_000).tolist() == positions
        assert len(data) < 500


def test_an_index_is_near_the_entropy_of_the_positions():
    for density in (0.02, 0.1, 0.5):
        positions = np.flatnonzero(np.random.default_rng(0).random(10**6) < density)
        entropy_bytes = -(density * np.log2(density) + (1 - density) * np.log2(1 - density)) * 10**6 / 8
        assert encoding_of_index(positions, 10**6, coder="huffman").n_bytes < 1.03 * entropy_bytes
