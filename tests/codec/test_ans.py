import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.codec import ans, kernels
from effbench.codec.streams import ANS, encoding_of_symbols, read_symbols
from effbench.codec.wire import Reader

SEEDED = settings(deadline=None, derandomize=True, max_examples=80)

count_lists = st.lists(
    st.one_of(st.just(0), st.integers(1, 9), st.integers(1, 2**31 - 1)), min_size=2, max_size=256
).filter(lambda counts: np.count_nonzero(counts) >= 2)


def counts_of(values):
    counts = np.zeros(256, np.int64)
    counts[: len(values)] = values
    return counts


def laplace(scale, n_symbols):
    rng = np.random.default_rng(0)
    return np.clip(np.round(rng.laplace(0, scale, n_symbols)) + 128, 0, 255).astype(np.uint8)


def entropy_bytes(symbols):
    counts = np.bincount(symbols)
    shares = counts[counts > 0] / len(symbols)
    return -(shares @ np.log2(shares)) * len(symbols) / 8


@SEEDED
@given(count_lists, st.integers(0, ans.MAX_MANTISSA))
def test_a_table_comes_back_rounded_and_nothing_more_is_read(values, n_mantissa):
    counts = counts_of(values)
    reader = Reader(ans.write_table(counts, n_mantissa) + b"next")
    try:
        table = ans.read_table(reader, n_mantissa)
    except ValueError:
        assert max(values) >= 2**31 - 2**30 // 2**n_mantissa  # 2**32 has no place in a table
        return
    assert reader.take(4) == b"next"
    assert np.array_equal(table > 0, counts > 0)
    assert (np.abs(table - counts) <= counts * 2.0 ** -(n_mantissa + 1)).all()


@SEEDED
@given(count_lists)
def test_frequencies_are_whole_and_add_up(values):
    counts = counts_of(values)
    frequencies = ans.frequencies_of(counts)
    assert frequencies.sum() == 2**24
    assert np.array_equal(frequencies > 0, counts > 0)
    shares = counts / counts.sum()
    assert np.abs(frequencies / 2**24 - shares).max() <= 257 / 2**24


def decode_in_python(words, frequencies, n_symbols):
    """ANS by its definition (Duda et al. 2015, PCS; constriction's words and precision), in whole numbers."""
    words, state, symbols = list(words), 0, []
    while words and state < 2**32:
        state = state << 32 | int(words.pop())
    starts = np.cumsum(frequencies) - frequencies
    for _ in range(n_symbols):
        rest = state % 2**24
        symbol = int(np.searchsorted(starts, rest, side="right")) - 1
        state = int(frequencies[symbol]) * (state >> 24) + rest - int(starts[symbol])
        if state < 2**32 and words:
            state = state << 32 | int(words.pop())
        symbols.append(symbol)
    return symbols


@pytest.mark.parametrize("seed", range(5))
def test_constriction_codes_with_exactly_our_frequencies(seed):
    """A decoder of whole numbers reads its words, so no float can make two machines disagree."""
    rng = np.random.default_rng(seed)
    symbols = rng.choice(40, 700, p=rng.dirichlet(np.full(40, 0.2))).astype(np.uint8)
    counts = np.bincount(symbols, minlength=256)
    reader = Reader(ans.encode_symbols(symbols, counts, 3))
    frequencies = ans.frequencies_of(ans.read_table(reader, 3))
    code = reader.take(reader.varint("bytes", at_most=10**4))
    words = np.frombuffer(code + bytes(-len(code) % 4), "<u4")
    used = np.flatnonzero(frequencies)
    assert [used[k] for k in decode_in_python(words, frequencies[used], len(symbols))] == symbols.tolist()


@pytest.mark.parametrize("n_symbols", [10**5, 10**6])
@pytest.mark.parametrize("scale", [0.4, 2, 12, 40])
def test_the_payload_is_within_a_thousandth_of_the_entropy(n_symbols, scale):
    symbols = laplace(scale, n_symbols)
    counts = np.bincount(symbols, minlength=256)
    n_mantissa, estimate = ans.best_mantissa(counts)
    data = ans.encode_symbols(symbols, counts, n_mantissa)
    payload = len(data) - len(ans.write_table(counts, n_mantissa))
    assert payload <= 1.001 * entropy_bytes(symbols)
    assert abs(len(data) - estimate) <= 8
    # With the table, too, once there are enough symbols for it: 256 numbers are 0.02 % to 0.3 % of them.
    assert len(data) <= (1.0005 if n_symbols == 10**6 else 1.003) * entropy_bytes(symbols)


def test_it_beats_huffman_where_a_symbol_is_worth_less_than_a_bit():
    symbols = (np.random.default_rng(0).random(10**5) < 0.05).astype(np.uint8)
    data = encoding_of_symbols(symbols, coder="ans").write()
    assert ANS <= data[0] <= ANS + ans.MAX_MANTISSA
    assert len(data) < 1.001 * entropy_bytes(symbols) + 12  # a table, a length, the end
    assert len(encoding_of_symbols(symbols, coder="huffman").write()) > 3 * len(data)


def test_a_small_stream_takes_a_small_table():
    rng = np.random.default_rng(0)
    symbols = np.clip(np.round(rng.normal(7, 2, 2000)), 0, 14).astype(np.uint8)
    data = encoding_of_symbols(symbols, coder="ans").write()
    assert data[0] >= ANS
    assert len(data) <= entropy_bytes(symbols) + 20


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes([0]), "one symbol"),
        (bytes([1, 0b11000000, 0, 0, 0]), "leaves out more"),
        (bytes([1, 0b11111111, 0b10000000, 0]), "exponent 32|exponent -1"),
        (bytes([255, 0b10010010, 0b01001001] * 40), "exponent 32"),
        (bytes([1, 0, 9, 1, 2, 3, 4]), "bytes of an ANS code is 9"),
        (bytes([1, 0, 4, 1, 2, 3, 4]), "don't fit"),
        (bytes([1]), "more bytes are needed"),
    ],
)
def test_made_up_codes_say_what_is_wrong(data, reason):
    with pytest.raises(ValueError, match=reason):
        read_symbols(Reader(bytes([ANS]) + data), 10**9)


def test_a_code_that_goes_on_is_refused():
    symbols = laplace(2, 1000)
    table = ans.encode_symbols(symbols, np.bincount(symbols, minlength=256), 3)
    assert np.array_equal(ans.decode_symbols(Reader(table), 1000, 3), symbols)
    with pytest.raises(ValueError, match="goes on"):
        ans.decode_symbols(Reader(table), 900, 3)
    with pytest.raises(ValueError, match="ends with a zero"):
        ans.decode_symbols(Reader(table[:-1] + b"\0"), 1000, 3)


@pytest.mark.extended
@SEEDED
@given(st.integers(2, 256), st.floats(0, 6), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_no_table_is_better_than_the_best_and_none_below_the_least(n_used, magnitude, density, seed):
    rng = np.random.default_rng(seed)
    counts = np.zeros(256, np.int64)
    counts[rng.choice(256, n_used, replace=False)] = 1 + rng.integers(0, int(10**magnitude), n_used) * (
        rng.random(n_used) < density
    )
    symbols = np.repeat(np.arange(256, dtype=np.uint8), np.minimum(counts, 50))
    counts = np.bincount(symbols, minlength=256)
    sizes = [len(ans.encode_symbols(symbols, counts, n_mantissa)) for n_mantissa in range(ans.MAX_MANTISSA + 1)]
    best, n_bytes = ans.best_mantissa(counts)
    assert ans.least_bytes(counts) <= min(sizes)
    assert sizes[best] <= min(sizes) + 6
    assert abs(n_bytes - sizes[best]) <= 6


@SEEDED
@given(st.integers(2, 256), st.floats(0, 9), st.integers(0, 2**32 - 1), st.integers(0, ans.MAX_MANTISSA))
def test_the_size_of_a_table_is_known_without_writing_it(n_used, magnitude, seed, n_mantissa):
    rng = np.random.default_rng(seed)
    counts = np.zeros(256, np.int64)
    counts[rng.choice(256, n_used, replace=False)] = 1 + (10 ** (magnitude * rng.random(n_used))).astype(np.int64)
    rounded = kernels.rounded(counts, n_mantissa)
    table = ans.write_table(counts, n_mantissa)
    assert len(table) == 1 + -(-kernels.table_bits(rounded, n_mantissa, 8) // 8)
    assert np.array_equal(ans.read_table(Reader(table), n_mantissa), rounded)
    frequencies = ans.frequencies_of(rounded)
    assert frequencies.sum() == 2**24 and np.array_equal(frequencies > 0, counts > 0)
