import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.codec import context_coder as context
from effbench.codec.arrangement import Arrangement
from effbench.codec.streams import CONTEXT, encoding_of_symbols, read_symbols
from effbench.codec.wire import Reader

SEEDED = settings(deadline=None, derandomize=True, max_examples=60)
PLENTY = 10**6


def code(symbols, arrangement):
    return context.encode_symbols(symbols, arrangement, at_most=PLENTY)


def assert_comes_back(symbols, arrangement):
    data = code(symbols, arrangement)
    reader = Reader(b"before" + data + b"next")
    reader.take(6)
    assert np.array_equal(context.decode_symbols(reader, arrangement), symbols)
    assert reader.take(4) == b"next"
    return data


def entropy_bytes(symbols):
    counts = np.bincount(symbols)
    shares = counts[counts > 0] / len(symbols)
    return -(shares @ np.log2(shares)) * len(symbols) / 8


shapes = st.one_of(
    st.tuples(st.integers(1, 300)),
    st.tuples(st.integers(1, 12), st.integers(1, 64)),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)),
)


@SEEDED
@given(shapes, st.sampled_from([1, 2, 16, 256]), st.sampled_from([0.05, 0.5, 1]), st.integers(0, 255), st.data())
def test_symbols_come_back(shape, n_different, density, offset, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n_values = int(np.prod(shape))
    symbols = np.where(rng.random(n_values) < density, rng.integers(0, n_different, n_values), 0)
    symbols = np.minimum(symbols + offset, 255).astype(np.uint8)
    assert_comes_back(symbols, Arrangement.of(shape, n_values))


def blocks(rng):
    return np.kron(rng.random((30, 20)) < 0.1, np.ones((8, 8), bool)), Arrangement.of((240, 160), 240 * 160)


def rows(rng):
    return np.repeat(rng.random((300, 1)) < 0.1, 100, axis=1), Arrangement.of((300, 100), 300 * 100)


def columns(rng):
    return (rng.random((300, 100)) < 0.5) & (rng.random(100) < 0.1), Arrangement.of((300, 100), 300 * 100)


def kernels(rng):
    return np.repeat(rng.random((64 * 32, 1)) < 0.1, 9, axis=1), Arrangement.of((64, 32, 3, 3), 64 * 32 * 9)


def images(rng):
    """Each row is an image in which one square of pixels is seen."""
    mask = np.zeros((100, 20, 20), bool)
    for image in mask:
        top, left = rng.integers(0, 14, 2)
        image[top : top + 6, left : left + 6] = rng.random((6, 6)) < 0.8
    return mask, Arrangement.of((100, 400), 100 * 400)


@pytest.mark.parametrize("make", [blocks, rows, columns, kernels, images])
def test_structure_is_worth_much_less_than_its_histogram(make):
    mask, arrangement = make(np.random.default_rng(0))
    symbols = mask.reshape(-1).astype(np.uint8)
    assert_comes_back(symbols, arrangement)
    sizes = {
        coder: encoding_of_symbols(symbols, coder=coder, arrangement=arrangement).n_bytes
        for coder in ("ans", "context")
    }
    assert encoding_of_symbols(symbols, coder="context", arrangement=arrangement).write()[0] == CONTEXT
    assert sizes["context"] < 0.75 * sizes["ans"], sizes


def test_images_in_a_row_are_found():
    mask, arrangement = images(np.random.default_rng(0))
    symbols = mask.reshape(-1).astype(np.uint8)
    data = code(symbols, arrangement)
    assert data[2] == 20  # the side, after the commonest and the highest symbol
    assert len(data) < 0.9 * len(code(symbols, Arrangement(n_rows=100, length=400))), "the line above says nothing"


def test_signs_and_magnitudes_are_predicted_too():
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.normal(0, 0.4, (200, 64)), axis=1)
    symbols = (np.clip(np.round(smooth), -7, 7) + 7).astype(np.uint8).reshape(-1)
    arrangement = Arrangement(n_rows=200, length=64)
    assert len(assert_comes_back(symbols, arrangement)) < 0.6 * entropy_bytes(symbols)


@pytest.mark.parametrize(("density", "excess"), [(0.05, 1.02), (0.5, 1.01), (1, 1.01)])
def test_on_noise_it_costs_little_more_than_the_entropy(density, excess):
    """Learning costs about 1.3 % of 0.45 bits at 5 %, 0.5 % from half of them on; the stream then takes ANS instead."""
    rng = np.random.default_rng(0)
    shape = (100, 1000)
    values = np.where(rng.random(10**5) < density, np.clip(np.round(rng.laplace(0, 2, 10**5)), -7, 7), 0)
    symbols = (values + 7).astype(np.uint8)
    arrangement = Arrangement.of(shape, 10**5)
    assert len(assert_comes_back(symbols, arrangement)) < excess * entropy_bytes(symbols)
    sizes = {
        coder: encoding_of_symbols(symbols, coder=coder, arrangement=arrangement).n_bytes
        for coder in ("ans", "context")
    }
    assert sizes["context"] <= sizes["ans"]


def test_a_code_that_would_be_too_long_is_given_up():
    symbols = np.random.default_rng(0).integers(0, 16, 5000).astype(np.uint8)
    arrangement = Arrangement.line(5000)
    n_bytes = len(code(symbols, arrangement))
    assert context.encode_symbols(symbols, arrangement, at_most=n_bytes - 1) is None
    assert len(context.encode_symbols(symbols, arrangement, at_most=n_bytes)) == n_bytes


def test_any_bytes_end_in_symbols_or_one_error():
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(400):
        arrangement = Arrangement.of((20, 49), 980)
        data = bytes([rng.integers(0, 20), rng.integers(0, 256), rng.choice([0, 7, 9])]) + rng.bytes(
            int(rng.integers(0, 300))
        )
        try:
            symbols = context.decode_symbols(Reader(data), arrangement)
        except ValueError as error:
            assert "\n" not in str(error)
            n_refused += 1
        else:
            assert symbols.max() <= data[1]
    assert 50 < n_refused < 400


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes([9, 8, 0]) + bytes(50), "commonest symbol is 9"),
        (bytes([0, 8, 6]) + bytes(50), "no images of side 6"),
        (bytes([0, 8, 99]) + bytes(50), "at most 49"),
        (bytes([0, 8, 0]), "does not fit"),
        (bytes([0]), "more bytes"),
    ],
)
def test_made_up_codes_say_what_is_wrong(data, reason):
    with pytest.raises(ValueError, match=reason):
        read_symbols(Reader(bytes([CONTEXT]) + data), 980, arrangement=Arrangement.of((20, 49), 980))
