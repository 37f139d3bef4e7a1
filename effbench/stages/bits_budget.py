"""A width for each layer: few bits where the network bears it, more where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.stack import bake
from effbench.compression.duplicate import duplicate
from effbench.compression.grids import GridOptions
from effbench.compression.layers import Weight, weights_of
from effbench.plan.context import Context
from effbench.plan.width_budget import NOTHING, WidthBudget


@dataclass(frozen=True, kw_only=True)
class BitsBudget(WidthBudget, GridOptions):
    """Give each weight a width of its own, by its measured sensitivity: see `Quantize` for which weights.

    See `WidthBudget` for how. The budget is one of bits a weight, on average over all that are not zero, before any
    entropy coding (the bytes as a share of 32 bits). (HAWQ, Dong et al. 2019, arXiv:1905.03696, estimates from second
    derivatives what is measured here.)
    """

    VERSION: ClassVar[int] = 2
    TABLE: ClassVar[str] = "sensitivity"
    COUNTED: ClassVar[str] = "weights"

    def __post_init__(self) -> None:
        """Refuse what is no budget, no width and no grid."""
        super().__post_init__()
        self.check_grid()

    def check_width(self, bits: int, /) -> None:
        """Refuse a width that grids of this scheme don't have."""
        self.check_bits(bits, shown=f"widths={self.widths}")

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model`, each layer on a grid of its own width. ValueError where by=accuracy can't be."""
        network = copy_network(model)
        if self.budget == NOTHING and not self.layers:
            return network
        names = self._put_own_widths(network, context)
        if self.budget == NOTHING or not names:
            return network
        by_name = _by_name(network)
        n_weights = {name: int((by_name[name].value() != 0).sum()) for name in names}

        def trial(widths: Mapping[str, int]) -> nn.Module:
            rounded = duplicate(network)
            self._put(rounded, widths, context)
            return bake(rounded)  # rounded once, not in every forward pass

        self._put(network, self.allot(n_weights, trial, context), context)
        return network

    def _put_own_widths(self, network: nn.Module, context: Context) -> list[str]:
        """Give layers with a budget of their own the widest width within it; return the names of the others."""
        budgets = self.values_by_weight(network, context)
        own = [weight for weight in budgets if self.has_own_value(weight)]
        for weight in own:
            bits = self.width_within(budgets[weight])
            if bits is not None:
                self.put_on_grid(weight, bits, generator=context.generator())
        return [weight.name for weight in budgets if weight not in own]

    def _put(self, network: nn.Module, widths: Mapping[str, int], context: Context) -> None:
        weights = _by_name(network)
        for name, bits in widths.items():
            self.put_on_grid(weights[name], bits, generator=context.generator())


def _by_name(network: nn.Module) -> dict[str, Weight]:
    return {weight.name: weight for weight in weights_of(network)}
