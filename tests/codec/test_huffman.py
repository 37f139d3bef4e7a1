import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.codec import huffman
from effbench.codec.wire import Reader

SEEDED = settings(deadline=None, derandomize=True, max_examples=80)

count_lists = st.lists(
    st.one_of(st.just(0), st.integers(1, 9), st.integers(1, 10**9)), min_size=2, max_size=256
).filter(lambda counts: np.count_nonzero(counts) >= 2)


def counts_of(values):
    counts = np.zeros(256, np.int64)
    counts[: len(values)] = values
    return counts


def total_bits_by_heap(counts):
    """Huffman 1952: every merge adds one bit to what is below it."""
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def kraft(lengths):
    return sum(2.0 ** -int(length) for length in lengths if length)


@SEEDED
@given(count_lists)
def test_unlimited_package_merge_is_huffman(values):
    counts = counts_of(values)
    lengths = huffman.limited_lengths(counts, limit=60)
    assert int(counts @ lengths) == total_bits_by_heap(counts)
    assert kraft(lengths) == 1
    assert np.array_equal(lengths > 0, counts > 0)


@SEEDED
@given(count_lists, st.integers(8, 15))
def test_a_limited_code_is_complete_and_no_shorter_than_huffman(values, limit):
    counts = counts_of(values)
    lengths = huffman.limited_lengths(counts, limit=limit)
    assert lengths.max() <= limit
    assert kraft(lengths) == 1
    assert int(counts @ lengths) >= total_bits_by_heap(counts)
    assert int(counts @ lengths) >= int(counts @ huffman.limited_lengths(counts, limit=limit + 1))


def test_a_limited_code_is_the_best_of_all():
    # Fibonacci counts want 1, 2, 3, 4, 5, 5 bits; every complete code of at most 3 bits for six symbols is tried.
    counts = counts_of([1, 1, 2, 3, 5, 8])
    best = min(
        int(counts[:6] @ np.array(lengths))
        for lengths in np.ndindex(4, 4, 4, 4, 4, 4)
        if 0 not in lengths and kraft(lengths) == 1
    )
    assert int(counts @ huffman.limited_lengths(counts, limit=3)) == best


def test_long_codes_only_where_they_pay():
    gentle = counts_of(np.arange(1, 257))
    steep = counts_of(2 ** np.minimum(np.arange(256) // 5, 50))
    assert huffman.best_lengths(gentle).max() <= 12
    assert int(steep @ huffman.best_lengths(steep)) <= 1.001 * int(
        steep @ huffman.limited_lengths(steep, limit=huffman.MAX_LENGTH)
    )


@pytest.mark.parametrize(("n_used", "limit"), [(1, 8), (17, 4), (0, 8)])
def test_impossible_codes_are_refused(n_used, limit):
    with pytest.raises(ValueError, match="not possible"):
        huffman.limited_lengths(counts_of([1] * n_used), limit=limit)


@SEEDED
@given(count_lists)
def test_codes_are_prefix_free_and_the_table_reads_them(values):
    lengths = huffman.best_lengths(counts_of(values))
    entries = huffman.write_entries(lengths)
    table, width = huffman.read_table(lengths)
    assert len(table) == 2**width
    for symbol in np.flatnonzero(lengths):
        code, length = int(entries[symbol]) >> 8, int(entries[symbol]) & 255
        first = code << (width - length)
        assert set(table[first : first + (1 << (width - length))].tolist()) == {int(symbol) << 8 | length}


@SEEDED
@given(count_lists)
def test_lengths_come_back_and_nothing_more_is_read(values):
    lengths = huffman.best_lengths(counts_of(values))
    reader = Reader(huffman.write_lengths(lengths) + b"next")
    assert np.array_equal(huffman.read_lengths(reader), lengths)
    assert reader.take(4) == b"next"


def test_the_table_is_smaller_than_four_bits_a_symbol():
    rng = np.random.default_rng(0)
    symbols = np.clip(np.round(rng.normal(128, 35, 25_000)), 0, 255).astype(int)
    lengths = huffman.best_lengths(np.bincount(symbols, minlength=256))
    assert len(huffman.write_lengths(lengths)) < 64


@pytest.mark.parametrize(
    "bits",
    [
        "111" + "0000",  # a code of no bits
        "111" + "0001" + "110" + "000000001" + "00000000",  # more than 256 symbols left out
        "110" + "0" * 12,  # a gamma number without an end
        "111" + "0010" + "111" + "0001" + "111" + "0001",  # Kraft's sum is 1.25
        "111" + "1111" + "100",  # 16 bits
        "111" + "0001" + "101",  # down to 0 bits
        "111" + "1111" + "0" * 300,  # 256 codes of 15 bits and more are not complete
        "",
    ],
)
def test_tables_that_are_no_code_are_refused(bits):
    data = int(bits.ljust(8 * -(-len(bits) // 8), "0") or "0", 2).to_bytes(-(-len(bits) // 8), "big")
    with pytest.raises(ValueError, match="damaged"):
        huffman.read_lengths(Reader(data))
