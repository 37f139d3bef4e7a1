import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from effbench.codec import huffman, streams
from effbench.codec.wire import Reader

SEEDED = settings(deadline=None, derandomize=True, max_examples=80)
CODERS = ["none", "huffman", "ans", "context"]

coders = st.sampled_from(CODERS)


def assert_stream_returns(symbols, coder):
    encoding = streams.encoding_of_symbols(symbols, coder=coder)
    data = encoding.write()
    assert len(data) == encoding.n_bytes
    reader = Reader(data + b"next")
    assert np.array_equal(streams.read_symbols(reader, len(symbols)), symbols)
    assert reader.take(4) == b"next"
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
