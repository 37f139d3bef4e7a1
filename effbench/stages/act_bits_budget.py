"""A width for the activations of each layer: few bits where the network bears it, more where it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn

from effbench.checks.patterns import matches
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.layer_inputs import (
    InputGrid,
    ProductGrids,
    clear_input,
    constraints_on_inputs,
    set_input,
)
from effbench.compression.constraints.stack import bake
from effbench.compression.duplicate import duplicate
from effbench.plan.context import Context
from effbench.plan.findings import Findings
from effbench.plan.layer_values import SKIP
from effbench.plan.width_budget import NOTHING, WidthBudget
from effbench.stages.quantize_inputs import InputGridOptions, QuantizeInputs
from effbench.training.calibration import count_inputs, count_operands

Grids = Mapping[str, tuple[str, InputGrid | ProductGrids]]
"""Of the inputs of layers, and of what modules multiply: by what they are called, with the names of the modules."""


@dataclass(frozen=True, kw_only=True)
class ActBitsBudget(WidthBudget, InputGridOptions):
    """Give the activations that go into each layer a width of their own, by measured sensitivity.

    See `WidthBudget` for how, `QuantizeInputs` for which activations and which grids. The budget is one of bits an
    activation, on average over all that go into these layers and products: of what one example makes of them, so that
    it is the bytes of memory that they take, as a share of 32 bits. (HAWQ-V2, Dong et al. 2020, arXiv:1911.03852,
    allots them by second derivatives; here their effect is measured.)
    """

    VERSION: ClassVar[int] = 1
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
        by_width = {bits: self._grids(bits, model, context) for bits in self.bits}
        grids = by_width[self.bits[0]]
        for module in network.modules():
            clear_input(module, InputGrid)
            clear_input(module, ProductGrids)
        budgets = {part: self._own_budget(name) for part, (name, _) in grids.items()}
        own = {part: self.width_within(budget) for part, budget in budgets.items() if budget is not None}
        baked = bake(network)  # weights that are on grids are rounded once, not in every forward pass

        def put(onto: nn.Module, widths: Mapping[str, int | None]) -> nn.Module:
            for part, bits in {**own, **widths}.items():
                if bits is not None:
                    name, grid = by_width[bits][part]
                    set_input(onto.get_submodule(name), grid)
            return onto

        others = {part: held for part, held in grids.items() if part not in own}
        chosen: dict[str, int] = {}
        if self.budget != NOTHING and others:
            sizes = _sizes(baked, others, context)
            chosen = self.allot(sizes, lambda widths: put(duplicate(baked), widths), context)
        return put(network, chosen)

    def _own_budget(self, name: str) -> float | None:
        """Return the budget that a module was given for itself; None where it has none."""
        return next((value for pattern, value in self.layers.items() if matches(pattern, name)), None)

    def _grids(self, bits: int, model: nn.Module, context: Context) -> Grids:
        """Return the grids of one width for all that is not skipped; the run says which these are once."""
        layers = {pattern: value if value == SKIP else bits for pattern, value in self.layers.items()}
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(InputGridOptions)}
        silent = dataclasses.replace(context, findings=Findings())
        stage = QuantizeInputs(bits=bits, layers=layers, **options)
        quantized = stage.apply(model, context if bits == self.bits[0] else silent)
        found: dict[str, tuple[str, InputGrid | ProductGrids]] = {}
        for name, _, held in constraints_on_inputs(quantized):
            if isinstance(held, InputGrid):
                found[name] = name, held
            elif isinstance(held, ProductGrids):
                found[f"{name} (products)".strip()] = name, held
        return found


def _sizes(network: nn.Module, grids: Grids, context: Context) -> dict[str, int]:
    """Return how many activations of one example each grid rounds."""

    def count(kind: type[InputGrid | ProductGrids], counter: Callable[..., dict[str, int]]) -> dict[str, int]:
        names = {part: name for part, (name, grid) in grids.items() if isinstance(grid, kind)}
        modules = {name: network.get_submodule(name) for name in names.values()}
        counted = counter(network, modules, context.example(), device=context.device)
        return {part: counted[name] for part, name in names.items()}

    counts = {**count(InputGrid, count_inputs), **count(ProductGrids, count_operands)}
    return {part: counts[part] for part in grids}
