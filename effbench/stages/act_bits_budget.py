"""A width for the activations of each layer: few bits where the network bears it, more where it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn

from effbench.checks.text import few_names
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.layer_inputs import InputGrid, ProductGrids, clear_input, set_input
from effbench.compression.constraints.stack import bake
from effbench.compression.duplicate import duplicate
from effbench.plan.context import Context
from effbench.plan.input_grids import InputGridOptions, outermost
from effbench.plan.layer_values import value_of
from effbench.plan.width_budget import NOTHING, WidthBudget
from effbench.training.calibration import count_inputs, count_operands


@dataclass(frozen=True, kw_only=True)
class ActBitsBudget(WidthBudget, InputGridOptions):
    """Give the activations that go into each layer a width of their own, by measured sensitivity.

    See `WidthBudget` for how, `QuantizeInputs` for which activations and which grids. The budget is one of bits an
    activation, on average over all that these layers and products take for one example, what several take counted as
    often: the bytes that they read, as a share of 32 bits. Where a recipe has rounds, widths and ranges are those of
    the first. (HAWQ-V2, Dong et al. 2020, arXiv:1911.03852, allots them by second derivatives; here their effect is
    measured.)
    """

    VERSION: ClassVar[int] = 1  # bumped with that of QuantizeInputs, too, whose grids these are
    TABLE: ClassVar[str] = "act_sensitivity"
    COUNTED: ClassVar[str] = "activations"
    ACTS_ON_MODULES: ClassVar[bool] = True

    def for_network(self, network: nn.Module, images: Tensor, /) -> Self:
        """Return the stage, with `products` true for a network that has such."""
        return self.with_products(network, images)

    def at_round(self, position: int, n_rounds: int) -> Self:
        """Return the stage for the first round, and one that does nothing for the others: grids stay as they are."""
        return self if position == 1 else dataclasses.replace(self, budget=NOTHING, by="bits", layers={})

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose layers round their inputs; grids that were there are replaced."""
        network = copy_network(model)
        if self.budget == NOTHING and not self.layers:
            return network
        layers = list(self.values_by_layer(network, context))
        for module in network.modules():
            clear_input(module, ProductGrids)
        modules = outermost(self.multiplying(network, context), self._budget_of)
        for name in layers:
            clear_input(network.get_submodule(name), InputGrid)
        baked = bake(network)  # weights that are on grids are rounded once, not in every forward pass
        grids = {bits: self._grids(baked, layers, modules, bits, context) for bits in self.bits}
        parts = grids[self.bits[0]]
        budgets = {part: value_of(self.layers, name, default=None) for part, (name, _) in parts.items()}
        own = {part: self.width_within(budget) for part, budget in budgets.items() if budget is not None}

        def put(onto: nn.Module, widths: Mapping[str, int | None]) -> nn.Module:
            for part, bits in {**own, **widths}.items():
                if bits is not None:
                    name, grid = grids[bits][part]
                    set_input(onto.get_submodule(name), grid)
            return onto

        others = {part: held for part, held in parts.items() if part not in own}
        chosen: dict[str, int] = {}
        if self.budget != NOTHING and others:
            sizes = _sizes(baked, others, context)
            chosen = self.allot(sizes, lambda widths: put(duplicate(baked), widths), context)
        if modules:
            of_products = [name for name, held in parts.values() if isinstance(held, ProductGrids)]
            context.findings.say(f"products/{context.step}", few_names(of_products))
        self.say_share([name for name, held in parts.values() if isinstance(held, InputGrid)], network, context)
        return put(network, chosen)

    def _budget_of(self, name: str) -> float | None:
        """Return the budget of a module; None where it is skipped."""
        budget: float | None = value_of(self.layers, name, default=self.budget)
        return budget

    def _grids(
        self, network: nn.Module, layers: list[str], modules: list[str], bits: int, context: Context
    ) -> dict[str, tuple[str, InputGrid | ProductGrids]]:
        """Return the grids of one width by what they are called, with the names of their modules."""
        of_inputs, of_products = self.calibrated(
            network, dict.fromkeys(layers, bits), dict.fromkeys(modules, bits), context
        )
        found: dict[str, tuple[str, InputGrid | ProductGrids]] = {}
        found |= {name: (name, grid) for name, grid in of_inputs.items()}
        return found | {f"{name} (products)".strip(): (name, held) for name, held in of_products.items()}


def _sizes(
    network: nn.Module, parts: Mapping[str, tuple[str, InputGrid | ProductGrids]], context: Context
) -> dict[str, int]:
    """Return how many activations of one example each grid rounds."""
    counts: dict[str, int] = {}
    for kind, count in ((InputGrid, count_inputs), (ProductGrids, count_operands)):
        names = {part: name for part, (name, grid) in parts.items() if isinstance(grid, kind)}
        modules = {name: network.get_submodule(name) for name in names.values()}
        counted = count(network, modules, context.example(), device=context.device)
        counts |= {part: counted[name] for part, name in names.items()}
    return {part: counts[part] for part in parts}
