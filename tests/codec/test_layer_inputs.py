"""The section of a file on the inputs of layers: what it says, and made-up ones."""

import struct
import zlib

import pytest
import torch
from torch import nn

from effbench.codec import container, decode, encode
from effbench.codec.layer_inputs import CAST_NUMBERS, write_inputs
from effbench.codec.wire import varint
from effbench.compression.constraints.layer_inputs import DTYPES, InputGrid, ProductGrids, product_grids_on, set_input


def network():
    torch.manual_seed(0)
    return nn.ModuleDict({name: nn.Linear(8, 8) for name in ("b", "a", "c")})


def file_with(section, flags=0x41):
    tensors = container._state(network())
    body = b"eff" + bytes([1, flags]) + container._fingerprint(tensors) + section + varint(len(tensors))
    return body + zlib.crc32(body).to_bytes(4, "little")


def grid(skipped=0, bits=8, scale=0.5, zero_point=3):
    return varint(skipped) + bytes([bits]) + struct.pack("<f", scale) + varint(zero_point)


def test_layers_are_counted_by_name():
    model = network()
    set_input(model["c"], InputGrid(bits=8, scale=0.5, zero_point=3))
    assert write_inputs(model) == bytes([0, 1]) + grid(skipped=2)


def test_products_come_after_the_layers():
    model = network()
    held = InputGrid(bits=8, scale=0.5, zero_point=3)
    set_input(model["c"], held)
    set_input(model["a"], ProductGrids(grids=(held, held)))
    section = bytes([128, 1]) + grid(skipped=2) + bytes([1, 1, 2]) + grid()[1:] * 2
    assert write_inputs(model) == section
    again = decode(encode(model), network())
    assert product_grids_on(again["a"]) == ProductGrids(grids=(held, held))
    assert product_grids_on(again["c"]) is None


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (b"", "more bytes|unknown type|at most"),
        (bytes([3, 0]), "unknown type 3"),
        (bytes([0, 0]), "imposes nothing"),
        (bytes([0, 4]) + grid() * 4, "number of grids on inputs is 4"),
        (bytes([0]) + b"\xff" * 12, "no end|at most"),
        (bytes([0, 2]) + grid(skipped=2), "layers without a grid is 2, at most 1"),
        (bytes([0, 2]) + grid(skipped=1) + grid(skipped=1), "layers without a grid is 1, at most 0"),
        (bytes([0, 1]) + grid(bits=0), "0 bits"),
        (bytes([0, 1]) + grid(bits=17), "17 bits"),
        (bytes([0, 1]) + grid(scale=float("nan")), "scale nan"),
        (bytes([0, 1]) + grid(scale=float("inf")), "scale inf"),
        (bytes([0, 1]) + grid(scale=-1.0), "scale -1"),
        (bytes([0, 1]) + grid(scale=0.0), "scale 0"),
        (bytes([0, 1]) + grid(bits=4, zero_point=16), "zero point is 16, at most 15"),
        (bytes([128, 0]), "more bytes|at most|no end"),
        (bytes([131, 0, 1]), "unknown type 3"),
        (bytes([128, 0, 0]), "section on products imposes nothing"),
        (bytes([128, 0, 5]), "modules with products is 5, at most 4"),
        (bytes([128, 0, 1, 4]), "modules without products is 4, at most 3"),
        (bytes([128, 0, 1, 1, 0]), "a Linear has grids on 0 operands"),
        (bytes([128, 0, 1, 0, 1]) + grid()[1:], "a ModuleDict has grids on 1 operands"),
        (bytes([128, 0, 1, 1, 65]), "number of operands is 65, at most 64"),
        (bytes([128, 0, 1, 1, 1]) + grid(bits=17)[1:], "17 bits"),
    ],
)
def test_made_up_sections_say_what_is_wrong(section, reason):
    with pytest.raises(ValueError, match=reason) as refusal:
        decode(file_with(section), network())
    assert "\n" not in str(refusal.value)


@pytest.mark.extended
def test_every_flipped_byte_and_every_truncation_is_refused():
    model = network()
    for layer in model.values():
        set_input(layer, InputGrid(bits=8, scale=0.5, zero_point=3))
    blob = encode(model)
    for place in range(len(blob)):
        for changed in (blob[:place], blob[:place] + bytes([blob[place] ^ 0x41]) + blob[place + 1 :]):
            with pytest.raises(ValueError):
                decode(changed, network())


@pytest.mark.extended
def test_a_flipped_section_under_a_right_checksum_never_crashes():
    model = network()
    for layer in model.values():
        set_input(layer, InputGrid(bits=8, scale=0.5, zero_point=3))
    body = bytearray(encode(model)[:-4])
    n_read = 0
    for place in range(4, 5 + len(write_inputs(model))):
        for value in range(0, 256, 7):
            changed = body.copy()
            changed[place] = value
            try:
                decode(bytes(changed) + zlib.crc32(changed).to_bytes(4, "little"), network())
                n_read += 1  # another width, scale or zero point
            except ValueError as error:
                assert "\n" not in str(error)
    assert n_read > 0


def test_the_numbers_of_casts_stand_in_files():
    assert CAST_NUMBERS == {None: 0, "bfloat16": 1, "float16": 2}
    assert set(CAST_NUMBERS) == {None, *DTYPES}, "each type that a network can be cast to has a number"
