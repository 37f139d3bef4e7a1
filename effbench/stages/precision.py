"""Precision: weights, statistics and computation in a floating type of half the width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.layer_inputs import InputCast, set_input
from effbench.compression.duplicate import duplicate
from effbench.compression.layers import refuse_scripted
from effbench.compression.structure.watch import run_once
from effbench.plan.context import Context
from effbench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Precision(Stage):
    """Cast a network to bfloat16 or float16 (mixed precision's formats: arXiv:1905.12322, arXiv:1710.03740).

    Every floating parameter and buffer has that type, in the file as well, and the forward pass computes in it: the
    network casts what it gets. What an engine makes of it is measured, and may be slower: CPUs without instructions for
    a type emulate them. ValueError where a value is too large for float16, and where the network does not run in it.
    """

    VERSION: ClassVar[int] = 1

    dtype: Literal["bfloat16", "float16"]
    """bfloat16 (8 bits of exponent, 7 of fraction) or float16 (5 and 10)."""

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` of that type."""
        cast = copy_network(model)
        refuse_scripted(cast)
        was_finite = _finite(cast)
        set_input(cast, InputCast(dtype=self.dtype))
        for name in was_finite - _finite(cast):
            raise ValueError(f"dtype={self.dtype}: must be bfloat16 here, as values of {name} are too large for it")
        try:
            run_once(duplicate(cast).to(context.device), context.example())  # a pass may move a state
        except Exception as error:
            raise ValueError(
                f"dtype={self.dtype}: {type(model).__name__} does not run in it on {context.device.type}: something "
                f"in it is of another type, or can't be ({kind_and_line(error)})"
            ) from error
        return cast


def _finite(network: nn.Module) -> set[str]:
    """Return the names of the tensors in the state of a network whose values are all finite."""
    state = network.state_dict()
    return {name for name, value in state.items() if isinstance(value, Tensor) and bool(value.isfinite().all())}
