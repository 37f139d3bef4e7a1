import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.codec.wire import Encoding, Reader, damaged, literal, signed_varint, smallest, varint


@given(st.integers(0, 2**70 - 1))
def test_a_varint_comes_back_in_groups_of_seven_bits(value):
    data = varint(value)
    assert len(data) == max(1, -(-value.bit_length() // 7))
    reader = Reader(data + b"next")
    assert reader.varint("a number", at_most=2**70) == value
    assert reader.take(4) == b"next"


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_of_either_sign_comes_back(value):
    assert Reader(signed_varint(value)).signed_varint("a number") == value


def test_small_numbers_take_a_byte():
    assert [varint(value) for value in (0, 127, 128)] == [b"\x00", b"\x7f", b"\x80\x01"]
    assert [signed_varint(value) for value in (0, -1, 1, -2)] == [b"\x00", b"\x01", b"\x02", b"\x03"]


def test_a_number_that_is_too_large_or_has_no_end_is_refused_by_its_name():
    with pytest.raises(ValueError, match="the width is 9, at most 8 is possible"):
        Reader(varint(9)).varint("the width", at_most=8)
    with pytest.raises(ValueError, match="the width has no end"):
        Reader(b"\xff" * 30).varint("the width", at_most=2**80)
    with pytest.raises(ValueError, match="1 more bytes are needed at byte 1, 0 are left"):
        Reader(b"\xff").varint("the width", at_most=2**80)


def test_a_reader_takes_what_is_there_and_no_more():
    reader = Reader(b"abcde")
    assert (reader.peek(), reader.byte(), reader.take(2), reader.n_left) == (97, 97, b"bc", 2)
    assert reader.array().tobytes() == b"abcde"
    for n_bytes in (3, -1):
        with pytest.raises(ValueError, match=f"{n_bytes} more bytes are needed at byte 3, 2 are left"):
            reader.take(n_bytes)
    assert reader.take(2) == b"de"
    with pytest.raises(ValueError, match="1 more bytes"):
        reader.peek()


def test_of_several_encodings_only_the_smallest_is_written_and_of_equals_the_first():
    written = []

    def encoding(n_bytes, name):
        return Encoding(n_bytes, lambda: written.append(name) or bytes(n_bytes))

    chosen = smallest(encoding(5, "long"), encoding(3, "first"), encoding(3, "second"))
    joined = literal(b"head") + chosen
    assert (joined.n_bytes, written) == (7, [])
    assert joined.write() == b"head\0\0\0"
    assert written == ["first"]


def test_the_error_says_what_may_have_happened():
    message = "the file is damaged or was not made by effbench.encode: its checksum does not match"
    assert str(damaged("its checksum does not match")) == message
