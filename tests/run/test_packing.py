"""Nested plain data with tensors, as bytes and back."""

import math
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given

from effbench.run.packing import pack, unpack

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
NESTED = st.recursive(
    PLAIN,
    lambda part: (
        st.lists(part, max_size=3)
        | st.lists(part, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), part, max_size=3)
    ),
    max_leaves=12,
)


def same(one, other):
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(NESTED)
def test_plain_data_come_back_with_their_types(content):
    assert same(unpack(pack(content)), content)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4, 5)])
def test_tensors_come_back_to_the_bit(dtype, shape):
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 9).to(dtype)
    (back,) = unpack(pack([tensor]))
    assert back.dtype == dtype and back.shape == tensor.shape
    assert torch.equal(back, tensor)


def test_views_and_shared_memory_are_kept_as_what_they_show():
    whole = torch.arange(24.0).reshape(2, 3, 4)
    parts = {"a": whole, "b": whole[:, 1], "c": whole.permute(2, 0, 1), "d": whole.requires_grad_()}
    back = unpack(pack(parts))
    assert all(torch.equal(back[name], part) for name, part in parts.items())


@pytest.mark.parametrize(
    "content",
    [
        Counter({2: 3, 5: 1}),
        OrderedDict(b=1, a=(2,)),
        {1, 2},
        frozenset({("a", 1)}),
        deque([1, [2]]),
        {(1, 2): {None: [True]}},
        defaultdict(int),
        namedtuple("Pair", "x y")(1, 2),
    ],
)
def test_what_comes_back_is_of_the_same_kind_or_is_refused(content):
    if type(content).__name__ in ("defaultdict", "deque", "Pair"):
        with pytest.raises(TypeError, match="can't be kept"):
            pack([content])
    else:
        (back,) = unpack(pack([content]))
        assert type(back) is type(content) and back == content


def test_numbers_that_are_none():
    nan, infinite = unpack(pack([math.nan, -math.inf]))
    assert math.isnan(nan) and infinite == -math.inf


@pytest.mark.parametrize("odd", [object(), np.int64(1), np.zeros(2), len, [torch.zeros(2, 2).to_sparse()], {"a": b"x"}])
def test_what_can_not_be_kept_is_refused(odd):
    with pytest.raises(TypeError, match="can't be kept"):
        pack({"part": odd})


def test_what_was_not_packed_is_refused():
    whole = pack({"a": torch.ones(5), "b": [1, (2,)]})
    for damaged in (b"", b"x" * 50, whole[:20], whole[:-3], safetensors.torch.save({"a": torch.ones(1)})):
        with pytest.raises(ValueError, match="nothing that was packed"):
            unpack(damaged)
