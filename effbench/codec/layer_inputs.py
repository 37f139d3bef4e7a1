"""What is imposed on the inputs of layers, as bytes.

A byte: 0, or the number of the type that the network is cast to (1 bfloat16, 2 float16); plus 128 where products have
grids. A varint: the number of grids. Then for each: a varint, the layers passed over since the last one; the grid: a
byte, its width; the scale as a float32; a varint, the zero point. Then, where products have grids, a varint: the number
of modules that multiply; for each: a varint, the modules passed over; a varint, the number of operands; their grids.
Layers and modules are counted in the order of their names: no name is in the file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from torch import nn

from effbench.codec.wire import Reader, damaged, varint
from effbench.compression.constraints.layer_inputs import (
    MOST_OPERANDS,
    InputCast,
    InputGrid,
    ProductGrids,
    clear_input,
    constraints_on_inputs,
    grid_on,
    product_grids_on,
    set_input,
)
from effbench.compression.layers import weight_layers

_MAX_BITS = 16
_HAS_PRODUCTS = 0x80
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
    products = [
        (position, held) for position, module in enumerate(_modules(network)) if (held := product_grids_on(module))
    ]
    if len(casts) + len(grids) + len(products) != len(imposed):
        raise ValueError(
            "the file can hold a cast of the whole network, and grids on inputs of weight layers only, or on products"
        )
    kind = CAST_NUMBERS[casts[0] if casts else None] | (_HAS_PRODUCTS if products else 0)
    parts = [bytes([kind]), varint(len(grids))]
    following = 0
    for position, grid in grids:
        parts += [varint(position - following), _grid_bytes(grid)]
        following = position + 1
    parts += [varint(len(products))] if products else []
    following = 0
    for position, of_module in products:
        parts += [varint(position - following), varint(len(of_module.grids)), *map(_grid_bytes, of_module.grids)]
        following = position + 1
    return b"".join(parts)


def _grid_bytes(grid: InputGrid) -> bytes:
    return bytes([grid.bits]) + struct.pack("<f", grid.scale) + varint(grid.zero_point)


def read_inputs(reader: Reader, network: nn.Module, /) -> None:
    """Impose the next section on `network`, in place. ValueError for what does not fit it."""
    kind = reader.byte()
    has_products, cast = bool(kind & _HAS_PRODUCTS), kind & ~_HAS_PRODUCTS
    if cast not in _CASTS:
        raise damaged(f"it casts to the unknown type {cast}")
    layers = _layers(network)
    n_grids = reader.varint("the number of grids on inputs", at_most=len(layers))
    for layer in _named(reader, layers, n_grids, "the layers without a grid"):
        set_input(layer, _read_grid(reader))
    if has_products:
        modules = _modules(network)
        n_modules = reader.varint("the number of modules with products", at_most=len(modules))
        for module in _named(reader, modules, n_modules, "the modules without products"):
            n_operands = reader.varint("the number of operands", at_most=MOST_OPERANDS)
            if not n_operands or isinstance(module, nn.ModuleList | nn.ModuleDict):
                raise damaged(f"a {type(module).__name__} has grids on {n_operands} operands of products")
            set_input(module, ProductGrids(grids=tuple(_read_grid(reader) for _ in range(n_operands))))
        if not n_modules:
            raise damaged("its section on products imposes nothing")
    name = _CASTS[cast]
    if name is not None:
        set_input(network, InputCast(dtype=name))
    elif n_grids == 0 and not has_products:
        raise damaged("its section on inputs imposes nothing")


def _named(reader: Reader, every: list[nn.Module], n: int, what: str) -> Iterator[nn.Module]:
    """Yield those of the modules that a section names, one after the other, as their places are read."""
    position = 0
    for left in reversed(range(n)):
        position += reader.varint(what, at_most=len(every) - position - left - 1)
        yield every[position]
        position += 1


def _read_grid(reader: Reader) -> InputGrid:
    bits = reader.byte()
    scale = struct.unpack("<f", reader.take(4))[0]
    if not 1 <= bits <= _MAX_BITS or not (math.isfinite(scale) and scale > 0):
        raise damaged(f"a grid on an input has {bits} bits and the scale {scale}")
    return InputGrid(bits=bits, scale=scale, zero_point=reader.varint("a zero point", at_most=2**bits - 1))


def clear_inputs(network: nn.Module, /) -> None:
    """Take away, in place, what is imposed on inputs: the file says what is."""
    for _name, module, constraint in list(constraints_on_inputs(network)):
        clear_input(module, type(constraint))


def _layers(network: nn.Module) -> list[nn.Module]:
    return [layer for _, layer in sorted(weight_layers(network), key=lambda named: named[0])]


def _modules(network: nn.Module) -> list[nn.Module]:
    """Return the modules in the order of their names, but for constraints, which a file does not bring back."""
    named = [(name, module) for name, module in network.named_modules() if "parametrizations" not in name.split(".")]
    return [module for _, module in sorted(named, key=lambda one: one[0])]
