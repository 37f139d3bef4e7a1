"""Counts of examples as a file: small, and the same numbers when read back."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from effbench.run.counts import pack_counts, unpack_counts


def counts(largest):
    shapes = st.tuples(st.integers(0, 20), st.integers(1, 5), st.just(2))
    return arrays.arrays(np.int64, shapes, elements=st.integers(0, largest))


@given(st.sampled_from([1, 255, 256, 65_535, 65_536, 2**32, 2**62]).flatmap(lambda n: st.tuples(counts(n), counts(n))))
def test_any_counts_come_back_as_they_were(parts):
    val, test = parts
    for written, read in zip(parts, unpack_counts(pack_counts(val=val, test=test)), strict=True):
        assert read.dtype == np.int64
        assert np.array_equal(read, written)


@pytest.mark.parametrize(
    ("largest", "bits"), [(0, 8), (255, 8), (256, 16), (65_535, 16), (65_536, 32), (2**32 - 1, 32), (2**32, 64)]
)
def test_each_split_has_the_smallest_type_that_holds_it(largest, bits):
    val = np.full((3, 1, 2), largest, dtype=np.int64)
    packed = pack_counts(val=val, test=np.zeros((4, 1, 2), np.int64))
    with np.load(io.BytesIO(packed), allow_pickle=False) as parts:
        assert parts["val"].dtype == np.dtype(f"uint{bits}")
        assert parts["test"].dtype == np.uint8


def test_ten_thousand_examples_take_a_few_kilobytes():
    correct = np.random.default_rng(0).random(10_000) < 0.9
    shares = np.stack([correct, np.ones_like(correct)], axis=1)[:, None].astype(np.int64)
    assert len(pack_counts(val=shares[:0], test=shares)) < 4_000


def test_what_is_no_such_file_can_not_run_code():
    content = io.BytesIO()
    np.savez(content, val=np.array([{"a": 1}], dtype=object), test=np.zeros(1))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        unpack_counts(content.getvalue())
