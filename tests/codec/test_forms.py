import numpy as np
import pytest
import torch

from effbench.codec.forms import DTYPE_NUMBERS, TensorForm, from_patterns, to_patterns
from effbench.codec.wire import Reader


def test_the_numbers_of_types_stand_in_files():
    assert {str(dtype): number for dtype, number in DTYPE_NUMBERS.items()} == {
        "torch.bool": 0,
        "torch.uint8": 1,
        "torch.int8": 2,
        "torch.int16": 3,
        "torch.int32": 4,
        "torch.int64": 5,
        "torch.float16": 6,
        "torch.bfloat16": 7,
        "torch.float32": 8,
        "torch.float64": 9,
        "torch.complex64": 10,
        "torch.complex128": 11,
        "torch.float8_e4m3fn": 12,
        "torch.float8_e5m2": 13,
    }


@pytest.mark.parametrize("dtype", DTYPE_NUMBERS)
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_a_form_and_the_patterns_of_any_type_come_back(dtype, shape):
    content = np.random.default_rng(0).integers(0, 2, (int(np.prod(shape)), dtype.itemsize), dtype=np.uint8)
    tensor = torch.from_numpy(content).reshape(-1).view(dtype).reshape(shape)
    form = TensorForm.of(tensor, "tensor")
    assert form == TensorForm(dtype, shape)
    form.check_bytes(Reader(form.to_bytes()))
    patterns = to_patterns(tensor)
    assert (patterns.shape, patterns.dtype) == ((form.n_entries,), form.pattern_dtype)
    again = from_patterns(patterns.copy(), form)
    assert (again.dtype, again.shape) == (dtype, shape)
    assert np.array_equal(to_patterns(again), patterns)


def test_a_matrix_of_floats_has_a_byte_for_its_type_and_one_for_each_small_dimension():
    assert TensorForm(torch.float32, (5, 100)).to_bytes() == bytes([2 * 24 + 8, 5, 100])


def test_patterns_are_those_of_the_values_in_row_major_order():
    tensor = torch.tensor([[1.0, -2.0], [0.0, -0.0]]).T
    assert [f"{pattern:08x}" for pattern in to_patterns(tensor)] == ["3f800000", "00000000", "c0000000", "80000000"]
    assert to_patterns(torch.tensor([1 - 1j]).conj()).tolist() == [0x3F800000, 0x3F800000]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (TensorForm(torch.float32, (4, 3)), "torch.float32 (4, 3)"),
        (TensorForm(torch.float16, (3, 4)), "torch.float16 (3, 4)"),
        (TensorForm(torch.float32, (1,) * 9), "torch.float32 of 9 dimensions"),
    ],
)
def test_another_form_is_refused(form, says):
    with pytest.raises(ValueError) as error:
        TensorForm(torch.float32, (3, 4)).check_bytes(Reader(form.to_bytes()))
    assert f"it holds {says} where the network has torch.float32 (3, 4)" in str(error.value)


def test_limits_are_those_of_the_type():
    assert TensorForm(torch.bool, ()).limits == (0, 1)
    assert TensorForm(torch.int8, ()).limits == (-128, 127)
    assert [TensorForm(dtype, ()).is_integer for dtype in (torch.bool, torch.int64, torch.float16)] == [1, 1, 0]
    assert TensorForm(torch.complex64, (3,)).n_entries == 6


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.zeros(1).expand(5), "expanded"),
        (torch.zeros(2, device="meta"), "meta"),
        (torch.zeros(2, dtype=torch.uint16), "uint16"),
    ],
)
def test_what_the_file_can_not_hold_is_refused_by_its_name(tensor, reason):
    with pytest.raises(ValueError, match=f"buffer is .*{reason}"):
        TensorForm.of(tensor, "buffer")
