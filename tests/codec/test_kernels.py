"""The loops against the same in plain Python; the codes themselves are in test_huffman and test_streams."""

import numpy as np
import pytest

from effbench.codec import huffman, kernels


def symbols_of(n, seed=0):
    return np.minimum(np.random.default_rng(seed).geometric(0.2, n) - 1, 40).astype(np.uint8)


@pytest.mark.parametrize("n_symbols", [0, 1, 3, 4, 1001])
def test_a_histogram_counts_each_symbol(n_symbols):
    symbols = symbols_of(n_symbols)
    assert np.array_equal(kernels.histogram(symbols), np.bincount(symbols, minlength=256))


def code_of(symbols):
    lengths = huffman.best_lengths(np.bincount(symbols, minlength=256))
    return huffman.write_entries(lengths), *huffman.read_table(lengths)


def as_text(symbols, entries):
    """The codes of symbols as a text of 0 and 1."""
    return "".join(f"{int(entries[s]) >> 8:0{int(entries[s]) & 255}b}" for s in symbols)


@pytest.mark.parametrize("n_symbols", [2, 3, 32, 1001])
def test_codes_are_packed_from_the_highest_bit_on_and_unpacked(n_symbols):
    symbols = np.concatenate([symbols_of(n_symbols), np.array([0, 1], np.uint8)])
    entries, table, width = code_of(symbols)
    text = as_text(symbols, entries)
    words = np.zeros(len(text) // 32 + 1, np.uint32)
    kernels.pack(symbols, entries, words)
    assert "".join(f"{int(word):032b}" for word in words).rstrip("0") == text.rstrip("0")
    data = np.concatenate([np.full(3, 255, np.uint8), words.astype(">u4").view(np.uint8)])
    unpacked = np.empty_like(symbols)
    assert kernels.unpack(data, 3, table, width, unpacked) == 3 * 8 + len(text)
    assert np.array_equal(unpacked, symbols)


@pytest.mark.parametrize("n_more", [0, 1, 7])
def test_four_lanes_are_unpacked_at_once_and_the_last_has_what_is_left_over(n_more):
    n_lane = 250
    symbols = np.concatenate([symbols_of(4 * n_lane + n_more - 2), np.array([0, 1], np.uint8)])
    entries, table, width = code_of(symbols)
    parts, ends, starts, position = [], [], [], 0
    for lane in np.split(symbols, [n_lane, 2 * n_lane, 3 * n_lane]):
        text = as_text(lane, entries)
        data = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
        starts.append(position)
        ends.append(8 * position + len(text))
        parts.append(data)
        position += len(data)
    unpacked = np.empty_like(symbols)
    data = np.frombuffer(b"".join(parts), np.uint8)
    assert kernels.unpack_lanes(data, np.array(starts), table, width, unpacked, n_lane).tolist() == ends
    assert np.array_equal(unpacked, symbols)


def test_bytes_that_end_too_soon_stop_beyond_their_end():
    symbols = symbols_of(1001)
    _, table, width = code_of(symbols)
    stop = kernels.unpack(np.zeros(3, np.uint8), 0, table, width, np.empty(1001, np.uint8))
    assert stop > 3 * 8


def test_package_merge_gives_an_optimal_code_of_limited_length():
    weights = np.array([1, 1, 2, 3, 5, 8], np.int64)  # Fibonacci: Huffman's lengths are 5, 5, 4, 3, 2, 1
    assert kernels.package_merge(weights, 5).tolist() == [5, 5, 4, 3, 2, 1]
    assert kernels.package_merge(weights, 3).tolist() == [3, 3, 3, 3, 2, 2]
    assert kernels.package_merge(np.array([1, 1], np.int64), 1).tolist() == [1, 1]
