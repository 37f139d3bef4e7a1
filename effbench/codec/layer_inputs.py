"""What is imposed on the inputs of layers, as bytes.

A byte: 0, or the number of the type that the network is cast to (1 bfloat16, 2 float16). A varint: the number of grids.
Then for each: a varint, the layers passed over since the last one; a byte, the width; the scale as a float32; a varint,
the zero point. Layers are counted in the order of their names: no name is in the file.
"""

from __future__ import annotations

import math
import struct

from torch import nn

from effbench.codec.wire import Reader, damaged, varint
from effbench.compression.constraints.layer_inputs import (
    InputCast,
    InputGrid,
    clear_input,
    constraints_on_inputs,
    grid_on,
    set_input,
)
from effbench.compression.layers import weight_layers

_MAX_BITS = 16
CAST_NUMBERS = {None: 0, "bfloat16": 1, "float16": 2}
"""The number in a file of the type that the network is cast to: append only."""
_CASTS = {number: name for name, number in CAST_NUMBERS.items()}


def write_inputs(network: nn.Module, /) -> bytes:
    """Return the section of a network; nothing where nothing is imposed. ValueError for what it can't hold."""
    imposed = list(constraints_on_inputs(network))
    if not imposed:
        return b""
    casts = [constraint.dtype for name, _, constraint in imposed if isinstance(constraint, InputCast) and not name]
    grids = [
        (position, grid) for position, layer in enumerate(_layers(network)) if (grid := grid_on(layer)) is not None
    ]
    if len(casts) + len(grids) != len(imposed):
        raise ValueError("the file can hold a cast of the whole network, and grids on the inputs of weight layers only")
    parts = [bytes([CAST_NUMBERS[casts[0] if casts else None]]), varint(len(grids))]
    following = 0
    for position, grid in grids:
        parts += [
            varint(position - following),
            bytes([grid.bits]),
            struct.pack("<f", grid.scale),
            varint(grid.zero_point),
        ]
        following = position + 1
    return b"".join(parts)


def read_inputs(reader: Reader, network: nn.Module, /) -> None:
    """Impose the next section on `network`, in place. ValueError for what does not fit it."""
    kind = reader.byte()
    if kind not in _CASTS:
        raise damaged(f"it casts to the unknown type {kind}")
    layers = _layers(network)
    position = 0
    n_grids = reader.varint("the number of grids on inputs", at_most=len(layers))
    for left in reversed(range(n_grids)):
        position += reader.varint("the layers without a grid", at_most=len(layers) - position - left - 1)
        bits = reader.byte()
        scale = struct.unpack("<f", reader.take(4))[0]
        if not 1 <= bits <= _MAX_BITS or not (math.isfinite(scale) and scale > 0):
            raise damaged(f"a grid on an input has {bits} bits and the scale {scale}")
        zero_point = reader.varint("a zero point", at_most=2**bits - 1)
        set_input(layers[position], InputGrid(bits=bits, scale=scale, zero_point=zero_point))
        position += 1
    name = _CASTS[kind]
    if name is not None:
        set_input(network, InputCast(dtype=name))
    elif n_grids == 0:
        raise damaged("its section on inputs imposes nothing")


def clear_inputs(network: nn.Module, /) -> None:
    """Take away, in place, what is imposed on inputs: the file says what is."""
    for _name, module, constraint in list(constraints_on_inputs(network)):
        clear_input(module, type(constraint))


def _layers(network: nn.Module) -> list[nn.Module]:
    return [layer for _, layer in sorted(weight_layers(network), key=lambda named: named[0])]
