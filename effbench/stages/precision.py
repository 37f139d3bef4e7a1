"""Precision: weights, statistics and computation in a floating type of half the width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.layer_inputs import InputCast, set_input
from effbench.plan.stage import Context, Stage


@dataclass(frozen=True, kw_only=True)
class Precision(Stage):
    """Cast a network to bfloat16 or float16 (mixed precision's formats: arXiv:1905.12322, arXiv:1710.03740).

    Every floating parameter and buffer has that type, in the file as well, and the forward pass computes in it: the
    network casts what it gets. What an engine makes of it is measured, and may be slower: CPUs without instructions for
    a type emulate them. ValueError where a value is too large for float16.
    """

    VERSION: ClassVar[int] = 1

    dtype: Literal["bfloat16", "float16"]
    """bfloat16 (8 bits of exponent, 7 of fraction) or float16 (5 and 10)."""

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` of that type."""
        cast = copy_network(model)
        was_finite = {name for name, tensor in cast.state_dict().items() if bool(tensor.isfinite().all())}
        set_input(cast, InputCast(dtype=self.dtype))
        for name, tensor in cast.state_dict().items():
            if name in was_finite and not bool(tensor.isfinite().all()):
                raise ValueError(f"dtype={self.dtype}: must be bfloat16 here, as values of {name} are too large for it")
        return cast
