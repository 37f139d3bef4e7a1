"""Peak memory of one inference, counted on the meta device: nothing of it is allocated."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from effbench.compression.constraints.layer_inputs import InputGrid, ProductGrids, clear_input
from effbench.measure.derived import storage_key
from effbench.measure.input_size import checked_size
from effbench.measure.meta_run import Watch, countable, double_of, run_once, tensors_in
from effbench.measure.size import tensor_bytes


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """What a network's inference of one input has in memory at its fullest moment, in bytes.

    >>> peak_memory(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), (3,))
    PeakMemory(weights=128, activations=52, layer='1')
    """

    weights: int
    """Of the parameters and buffers in their own types: `tensor_bytes`. They are there all the time."""
    activations: int
    """The largest sum of the activations that are there at the same time, the network's input included."""
    layer: str
    """The name of the innermost module that runs when it is first reached, "" for the network itself."""

    @property
    def total(self) -> int:
        """Weights and activations, in bytes."""
        return self.weights + self.activations


def peak_memory(model: nn.Module, input_size: Sequence[int], /) -> PeakMemory:
    """Count the memory of one inference in eval mode, without gradients, on a batch of one.

    A double of the model runs once on the meta device; the model is left alone. An activation is there from the
    operation that makes it until Python drops the last reference to it, which is when eager PyTorch frees it. Inputs
    and outputs of an operation are there together. Views share their memory, operations in place take none, and the
    network's input stays to the end, since the caller holds it.

    Left out is what kernels allocate for themselves (a convolution's unfolded input or rearranged weights), what an
    allocator rounds up, and the program. Attention runs as plain matrix products, which have its scores in memory;
    fused kernels have not. Constrained weights take what plain ones take, and grids on inputs are left out: rounding
    floats is a simulation, whose temporary tensors say nothing of the engine that has 8-bit activations instead.

    Parameters
    ----------
    model
        A network of one floating-point input, on any device, with or without constraints.
    input_size
        Size of one input without the batch: (channels, height, width) for images, (n_features,) for a linear network.

    Raises
    ------
    ValueError
        If `input_size` is not made of integers of at least 1, if the network does not accept it, or if its forward pass
        can't run without values.

    Examples
    --------
    >>> peak = peak_memory(nn.Conv2d(3, 64, 3, padding=1, bias=False), (3, 224, 224))
    >>> peak.weights, peak.activations == 4 * (3 + 64) * 224 * 224
    (6912, True)
    """
    size = checked_size(input_size)
    model = countable(model)
    double = double_of(model)
    for module in double.modules():
        clear_input(module, InputGrid)
        clear_input(module, ProductGrids)
    live = _LiveStorages(double)
    run_once(double, live, size)
    return PeakMemory(weights=tensor_bytes(model), activations=live.peak_bytes, layer=live.peak_layer)


class _LiveStorages(Watch):  # type: ignore[no-untyped-call]
    """Follow which memory the forward pass holds. Only operations add any, so it is summed up after each of them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._live: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self.peak_bytes = 0
        self.peak_layer = ""

    def begin(self, example: Tensor, /) -> None:
        """Forget what was followed: a forward pass on `example` begins."""
        super().begin(example)
        self._live.clear()
        self._add([example])
        self.peak_bytes, self.peak_layer = example.untyped_storage().nbytes(), ""

    def note(
        self, operation: Any, operands: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], outcome: object
    ) -> None:
        """Add what an operation made, and look how much there is."""
        self._live = {key: storage for key, storage in self._live.items() if storage() is not None}
        # What has an operand's memory is not new: a view, or the outcome of an operation in place. What `torch.tensor`
        # makes is seen here first.
        is_literal = operation is torch.ops.aten.lift_fresh.default
        held = set() if is_literal else {storage_key(tensor) for tensor in (*operands, *tensors_in((args, kwargs)))}
        self._add([tensor for tensor in tensors_in(outcome) if storage_key(tensor) not in held])
        storages = [storage() for storage in self._live.values()]
        n_bytes = sum(storage.nbytes() for storage in storages if storage is not None)
        if n_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_layer = n_bytes, self.layer

    def _add(self, tensors: Sequence[Tensor]) -> None:
        self._live |= {storage_key(tensor): weakref.ref(tensor.untyped_storage()) for tensor in tensors}
