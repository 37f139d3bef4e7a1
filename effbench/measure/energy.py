"""Energy of one inference by a published model of operations and memory traffic: never a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from effbench.compression.constraints.codebook import SharedTensor
from effbench.compression.constraints.quantizer import QuantizedTensor
from effbench.compression.constraints.stack import native_form
from effbench.measure.compute import count_cost
from effbench.measure.input_size import checked_size, input_dtype
from effbench.measure.int8_layers import int8_layers
from effbench.measure.meta_run import Watch, countable, double_of, run_once, tensors_in
from effbench.measure.tensors import Place, parameter_places, standing_modules

MAC_PJ = {"int8": 0.2 + 0.03, "float16": 1.1 + 0.4, "float32": 3.7 + 0.9}
"""Picojoules of one multiplication and one addition by the type of their operands, in 45 nm CMOS at 0.9 V."""
DRAM_PJ_PER_BIT = 640 / 32
"""Picojoules that a bit takes from or to DRAM: 640 for 32 of them."""


def modelled_energy_uj(model: nn.Module, input_size: Sequence[int], /) -> float:
    """Model the energy of one inference on a batch of one, in microjoules. This is arithmetic, not a measurement.

    energy = effective multiply-adds x the energy of a multiplication and an addition of their width
    + bits moved x the energy of a bit from DRAM. It ranks networks by what their work and their bytes would cost in
    45 nm CMOS (figures of 2014); it says nothing of a given processor, whose own joules are other ones.

    Energies are those of Horowitz 2014 (ISSCC, "Computing's energy problem", figure 1.1.9), of which Han et al. 2015
    (arXiv:1506.02626, table 1) and Han et al. 2016 (EIE, arXiv:1602.01528, table I) have the 32-bit ones: `MAC_PJ` and
    `DRAM_PJ_PER_BIT`.

    Assumptions:

    - Only multiply-adds count as operations (`count_cost`); those of weights that are zero are skipped, for nothing.
    - A layer computes with 8-bit integers where its weights and its inputs are on grids (`int8_layers`); an addition
      is as wide as its operands there, though accumulators are wider (32 bits: 0.1 instead of 0.03 pJ). All else has
      the network's floating type: 16-bit floats where that has 16 bits, bfloat16 like float16, else 32-bit ones.
    - Each weight comes from DRAM once, zero or not, at the width in which it is stored: the bits of its grid, those of
      its codebook's codes, or those of its type. Floating-point buffers come in their type. Tables, scales and zero
      points are left out, and so is entropy coding.
    - The network's input and output cross DRAM once, in their types. Every other activation stays on the chip, where
      reading and writing are free.

    Parameters
    ----------
    model
        A network of one floating-point input, with or without constraints; where these are grids, with its values.
    input_size
        Size of one input without the batch: (channels, height, width) for images, (n_features,) for a linear network.

    Raises
    ------
    ValueError
        As in `count_cost`.

    Examples
    --------
    A layer of 6 weights, 2 biases, 3 inputs and 2 outputs moves 13 x 32 bits, at 20 pJ each, and does 6 multiply-adds.

    >>> round(modelled_energy_uj(nn.Linear(3, 2), (3,)), 9)
    0.0083476
    """
    size = checked_size(input_size)
    model = countable(model)
    n_bits = _weight_bits(model) + _input_and_output_bits(model, size)
    return 1e-6 * (_compute_pj(model, size) + n_bits * DRAM_PJ_PER_BIT)


def _compute_pj(model: nn.Module, size: tuple[int, ...]) -> float:
    """Return the energy of all effective multiply-adds, in picojoules."""
    integers = int8_layers(model)
    floats = "float16" if input_dtype(model).itemsize == 2 else "float32"
    by_layer = count_cost(model, size).by_layer
    n_macs = by_layer["macs_effective"].to_numpy()
    is_integer = by_layer["layer"].isin(integers).to_numpy()
    return MAC_PJ["int8"] * int(n_macs[is_integer].sum()) + MAC_PJ[floats] * int(n_macs[~is_integer].sum())


def _weight_bits(model: nn.Module) -> int:
    """Return the bits in which all weights are stored, and the floating-point buffers beside them."""
    buffers = {
        id(buffer): 8 * buffer.nbytes
        for _name, module in standing_modules(model)
        for buffer in module._buffers.values()
        if buffer is not None and buffer.is_floating_point()
    }
    return sum(_bits(place) for place in parameter_places(model) if place.is_first) + sum(buffers.values())


def _bits(place: Place) -> int:
    """Return the bits of one parameter: n_weights x the width of its codes, or of its type."""
    stored = native_form(place.module, place.tensor)
    if isinstance(stored, QuantizedTensor):
        return stored.codes.numel() * stored.bits
    if isinstance(stored, SharedTensor):
        n_codes = len(stored.values) + int(bool((stored.codes == 0).any()))
        return stored.codes.numel() * max(1, (n_codes - 1).bit_length())
    return 8 * place.value().nbytes


def _input_and_output_bits(model: nn.Module, size: tuple[int, ...]) -> int:
    """Return the bits of one input, in the network's floating type, and of what the network makes of it."""
    double = double_of(model)
    outputs = tensors_in(run_once(double, Watch(double), size))
    return 8 * (prod(size) * input_dtype(model).itemsize + sum(output.nbytes for output in outputs))
