"""Counts of examples as a file: small, and the same numbers when read back."""

import io
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from effbench.run.counts import pack_counts, unpack_counts, unpack_test_examples


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


def npz(**parts):
    stream = io.BytesIO()
    np.savez(stream, **parts)
    return stream.getvalue()


def claiming(header, *, data=b""):
    """Return a file of counts whose first array says something of itself."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("val", "test"):
            array = io.BytesIO()
            np.lib.format.write_array_header_1_0(array, {"fortran_order": False, **header})
            archive.writestr(f"{name}.npy", array.getvalue() + data)
    return stream.getvalue()


GOOD = np.ones((3, 1, 2), np.uint8)
DAMAGED = {
    "empty": b"",
    "text": b"accuracy: 1.0",
    "cut off": npz(val=GOOD, test=GOOD)[:-40],
    "one array": npz(val=GOOD),
    "pickled": npz(val=np.array([{"a": 1}], dtype=object), test=GOOD),
    "floats": npz(val=GOOD.astype(float), test=GOOD),
    "signed": npz(val=GOOD.astype(np.int16), test=GOOD),
    "flat": npz(val=GOOD.ravel(), test=GOOD),
    "triples": npz(val=np.ones((2, 1, 3), np.uint8), test=GOOD),
    "fortran": npz(val=np.asfortranarray(np.ones((3, 4, 2), np.uint8)), test=GOOD),
    "too large": npz(val=np.full((1, 1, 2), 2**63, np.uint64), test=GOOD),
    "short": claiming({"descr": "|u1", "shape": (10**12, 1, 2)}, data=b"\0\0"),
    "long": claiming({"descr": "|u1", "shape": (1, 1, 2)}, data=bytes(50)),
    "below nothing": claiming({"descr": "|u1", "shape": (-1, -1, 2)}, data=b"\0\0"),
    "no header": claiming({"descr": "nonsense", "shape": (1, 1, 2)}),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_anything_else_is_one_clear_error(content):
    with pytest.raises(ValueError, match=r"^these are no counts of examples, or damaged ones \(.+\)$"):
        unpack_counts(content)


def test_a_small_file_does_not_become_a_large_one(monkeypatch):
    monkeypatch.setattr("effbench.run.counts.MOST_BYTES", 10_000)
    packed = pack_counts(val=np.zeros((100_000, 1, 2), np.int64), test=GOOD)
    assert len(packed) < 10_000
    with pytest.raises(ValueError, match="would have 200128 bytes, the most is 10000"):
        unpack_counts(packed)


@given(st.data())
def test_whatever_is_flipped_is_an_error_or_counts(data):
    packed = bytearray(npz(val=GOOD, test=GOOD))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(ValueError):
        for counts in unpack_counts(bytes(packed)):
            assert counts.dtype == np.int64 and counts.shape[2] == 2


KNOWN = {
    "group": np.array([3, 0, 2**40]),
    "confidence": np.array([0.5, 1.0, np.nan]),
    "is_right": np.array([True, False, True]),
}


def test_what_is_known_of_test_examples_comes_back_and_other_names_do_not():
    counts = np.ones((3, 1, 2), np.int64)
    content = pack_counts(val=counts, test=counts, test_examples={**KNOWN, "predicted": np.zeros(3)})
    found = unpack_test_examples(content)
    assert [values.dtype for values in found.values()] == [np.int64, np.float32, np.bool_]
    of_pixels = {"group": np.zeros((3, 8, 8)), "confidence": np.zeros(4)}
    assert unpack_test_examples(pack_counts(val=counts, test=counts, test_examples=of_pixels)) == {}
    assert all(np.array_equal(found[name], values, equal_nan=True) for name, values in KNOWN.items())
    assert np.array_equal(unpack_counts(content)[1], counts)
    assert unpack_test_examples(pack_counts(val=counts, test=counts)) == {}


@pytest.mark.parametrize("values", [np.zeros(4, np.int64), np.zeros((3, 1), np.int64), np.zeros(3, np.int32)])
def test_examples_of_another_shape_or_type_are_damage(values):
    counts = np.ones((3, 1, 2), np.uint8)
    with pytest.raises(ValueError, match="damaged"):
        unpack_test_examples(npz(val=counts, test=counts, test_group=values))
    with pytest.raises(ValueError, match="damaged"):
        unpack_test_examples(b"no file")
