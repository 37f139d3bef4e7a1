import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.codec.symbol_table import N_SYMBOLS, Bits, read_step, step_bits, to_bytes
from effbench.codec.wire import Reader

tables = st.dictionaries(st.integers(0, N_SYMBOLS - 1), st.integers(0, 31), min_size=1)


@given(tables, st.integers(0, 31))
def test_the_numbers_of_symbols_come_back(table, first):
    text, last, n_passed = "", first, 0
    for symbol, number in sorted(table.items()):
        text += step_bits(number, last, symbol - n_passed, width=5)
        last, n_passed = number, symbol + 1
    bits, symbol, last, read = Bits(Reader(to_bytes(text) + b"next")), 0, first, {}
    for _ in table:
        symbol, last = read_step(bits, symbol, last, width=5)
        read[symbol] = last
        symbol += 1
    assert read == table
    assert bits.reader.take(4) == b"next", "whole bytes are read, and none too many"


@pytest.mark.parametrize(
    ("number", "last", "n_unused", "bits"),
    [(4, 4, 0, "0"), (5, 4, 0, "100"), (3, 4, 0, "101"), (9, 4, 0, "1111001"), (4, 4, 5, "110" + "00101" + "0")],
)
def test_a_step_is_written_as_the_format_says(number, last, n_unused, bits):
    assert step_bits(number, last, n_unused, width=4) == bits


def test_bits_are_taken_from_the_highest_down_across_bytes():
    bits = Bits(Reader(bytes([0b10110001, 0b11111110])))
    assert [bits.next(1), bits.next(3), bits.next(8), bits.next(0)] == [1, 0b011, 0b00011111, 0]
    assert to_bytes("1011") == bytes([0b10110000])
    assert to_bytes("") == b""


def test_a_symbol_beyond_the_last_one_is_told_and_a_gamma_number_without_end_refused():
    skips = "110" + "000000001" + "00000000"  # 256 symbols that don't occur
    symbol, _ = read_step(Bits(Reader(to_bytes(skips) + bytes(2))), 0, 4, width=4)
    assert symbol >= N_SYMBOLS
    with pytest.raises(ValueError, match="leaves out more than there are"):
        Bits(Reader(bytes(4))).gamma()
