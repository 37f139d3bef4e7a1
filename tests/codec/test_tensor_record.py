"""One tensor as bytes: which kind is chosen, and that each comes back."""

import pytest
import torch

from effbench.codec.forms import TensorForm
from effbench.codec.tensor_record import RecordKind, read_record, value_of, write_record, write_repeat
from effbench.codec.wire import Reader
from effbench.compression.constraints.codebook import SharedTensor
from effbench.compression.constraints.quantizer import UniformQuantizer

CODERS = ("none", "huffman", "ans", "context")


def test_the_numbers_of_kinds_stand_in_files():
    assert {kind.name: kind.value for kind in RecordKind} == {
        "FLOATS": 0,
        "SPARSE_FLOATS": 1,
        "INTEGERS": 2,
        "SPARSE_INTEGERS": 3,
        "CODES": 4,
        "STEPS": 5,
        "SPARSE_STEPS": 6,
        "REPEAT": 7,
        "SHARED": 8,
        "SPARSE_SHARED": 9,
        "TRELLIS": 10,
    }


def random(*shape, density=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator) * (torch.rand(*shape, generator=generator) < density)


def shared(density):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(1, 9, (40, 30), generator=generator)
    codes[torch.rand(40, 30, generator=generator) >= density] = 0
    return SharedTensor(codes=codes, values=random(8))


VALUES = {
    RecordKind.FLOATS: lambda: random(40, 30),
    RecordKind.SPARSE_FLOATS: lambda: random(40, 30, density=0.1),
    RecordKind.INTEGERS: lambda: torch.arange(1, 900),
    RecordKind.SPARSE_INTEGERS: lambda: 1000 * (torch.arange(900) % 40 == 0).long(),
    RecordKind.CODES: lambda: UniformQuantizer(8).quantize(random(40, 30)),
    RecordKind.STEPS: lambda: UniformQuantizer(8, scheme="affine").quantize(random(40, 1) + random(40, 30) / 50),
    RecordKind.SPARSE_STEPS: lambda: UniformQuantizer(8).quantize(random(40, 30, density=0.1)),
    RecordKind.SHARED: lambda: shared(1.0),
    RecordKind.SPARSE_SHARED: lambda: shared(0.1),
}


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("coder", CODERS)
def test_each_kind_comes_back(kind, coder):
    value = VALUES[kind]()
    expected = value if isinstance(value, torch.Tensor) else value.dequantize()
    form = TensorForm.of(expected, "tensor")
    record = write_record(value, form, coder=coder)
    if coder == "none" and kind != RecordKind.STEPS:
        assert record[0] == kind, RecordKind(record[0])
    reader = Reader(record + b"next")
    assert torch.equal(value_of(read_record(reader, form, []), form), expected)
    assert reader.take(4) == b"next"


def test_steps_are_smaller_than_codes_where_zero_points_differ_and_values_do_not():
    # The same steps in every row, at other places of the grid: one histogram instead of forty.
    weight = random(30).repeat(40, 1)
    quantized = UniformQuantizer(8, scheme="affine").quantize(weight)
    shifted = type(quantized)(
        codes=quantized.codes + torch.arange(40)[:, None].int(),
        scale=quantized.scale,
        zero_point=quantized.zero_point + torch.arange(40).int(),
        bits=8,
    )
    form = TensorForm(torch.float32, (40, 30))
    record = write_record(shifted, form, coder="huffman")
    assert record[0] in (RecordKind.STEPS, RecordKind.SPARSE_STEPS)
    assert torch.equal(value_of(read_record(Reader(record), form, []), form), shifted.dequantize())


def test_a_record_repeats_an_earlier_one_of_its_form():
    earlier = [random(3), random(4)]
    form = TensorForm(torch.float32, (4,))
    assert read_record(Reader(write_repeat(1)), form, earlier) is earlier[1]
    with pytest.raises(ValueError, match="repeats one of another form"):
        read_record(Reader(write_repeat(0)), form, earlier)


def test_minus_zero_is_no_zero():
    values = torch.zeros(400)
    values[7] = -0.0
    form = TensorForm.of(values, "tensor")
    again = read_record(Reader(write_record(values, form, coder="huffman")), form, [])
    assert torch.equal(torch.signbit(again), torch.signbit(values))
