import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.codec.sparse_index import encoding_of_index, read_index
from effbench.codec.wire import Reader

SEEDED = settings(deadline=None, derandomize=True, max_examples=80)
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
