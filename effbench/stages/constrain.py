"""Weights put on grids that the next training presses into a file of so many bits a weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from effbench.checks.text import few_names
from effbench.compression.coarse import store_coarsely
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.learned_grid import LearnedGrid, learned_grid_on
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import (
    Place,
    constrained_value,
    constraints_on,
    originals,
    parameter_behind,
    register,
)
from effbench.compression.duplicate import duplicate
from effbench.compression.even_grid import hold_on_grid, leave_grid, refuse_unfit
from effbench.compression.layers import Weight, biases_of, weights_of
from effbench.compression.step_search import too_low
from effbench.plan.context import Context
from effbench.plan.layer_values import refuse_own_values
from effbench.plan.stage import Stage

_LEVELS = 8
"""Steps in the largest weight of a tensor, at first."""


@dataclass(frozen=True, kw_only=True)
class Constrain(Stage):
    """Hold weights and their layers' biases on grids whose step is trained, for a file of `rate` bits a weight.

    The trainings that follow descend the loss plus what the codes cost, at a price that brings the file to what is
    wanted (`training.rate_pressure`; Oktay et al. 2019, arXiv:1906.06624, section 3, has the price fixed and the
    density of a reparametrised weight). Weights become zero where they are worth less than their bits. The stage `rate`
    then cuts what is still too long; what came out shorter stays so.
    """

    VERSION: ClassVar[int] = 2
    LAYER_FIELD: ClassVar[str | None] = "rate"

    rate: Annotated[float, Field(gt=0, le=16)] | Literal[32] = 32
    """Bits a weight in the whole file, as `stages.rate` has them; 32: nothing is constrained."""
    coder: Literal["none", "huffman", "ans", "context"] = "context"
    """The coder of which the file is to have this length: that of the stage `rate`."""
    small: Annotated[float, Field(ge=0, le=1)] = 0.01
    """How coarsely the stage `rate` will store what is no weight."""
    biases: bool = True
    """Whether biases of the same layers are on grids, too."""

    @property
    def is_neutral(self) -> bool:
        """At 32 nothing is constrained."""
        return self.rate == 32

    @property
    def asks_for_training(self) -> str | None:
        """Without it the grids are as coarse as they are at first, and the file is as long as it comes."""
        return "it is training that brings the file to its length; finetune.epochs=10, say, gives it some"

    def __post_init__(self) -> None:
        """Refuse a rate of a layer's own, which no file has."""
        super().__post_init__()
        refuse_own_values(self.layers, "the rate is the whole file's")

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` on grids. ValueError where no file is so small, or a weight can't be on one."""
        network = copy_network(model)
        # What is all zero has no scale to begin with: it stays what it is.
        acted = [weight for weight in self.values_by_weight(network, context) if bool(weight.value().any())]
        refuse_unfit(acted)
        for weight in acted:
            if learned_grid_on(*weight.places[0]) is None:
                leave_grid(weight)  # one that is held: `stages.rate`
        _refuse_parametrized(acted)
        biases = {weight: _own_biases(network, weight) if self.biases else [] for weight in acted}
        n_weights = sum(weight.value().numel() for weight in weights_of(network))
        wanted = self.rate * n_weights / 8
        least = self._least(network, [weight.name for weight in acted], context)
        if least >= wanted:
            raise ValueError(too_low(self.rate, least, n_weights))
        for weight in acted:
            own = _first_log_step(weight.value())
            self._hold(weight.places, own, 8 * (wanted - least))
            for place in biases[weight]:
                value = constrained_value(*place)
                self._hold([place], _first_log_step(value) if bool(value.any()) else own, 8 * (wanted - least))
        return network

    def _least(self, network: nn.Module, names: list[str], context: Context) -> int:
        """Return the bytes of the file with every weight zero, and every bias that is constrained."""
        trial = duplicate(network)
        for weight in weights_of(trial):
            if weight.name in names:
                hold_on_grid(weight, torch.zeros(weight.value().shape, dtype=torch.int64), 1.0)
                for place in _own_biases(trial, weight) if self.biases else ():
                    with torch.no_grad():
                        parameter_behind(*place).zero_()
        return context.code_length(store_coarsely(trial, self.small), self.coder)

    def _hold(self, places: Sequence[Place], log_step: Tensor, wanted_bits: float) -> None:
        grid = LearnedGrid(log_step, wanted_bits=wanted_bits, coder=self.coder)
        for place, name in places:
            if not any(isinstance(kind, LearnedGrid) for kind in constraints_on(place, name)):
                register(place, name, grid)


def _first_log_step(value: Tensor) -> Tensor:
    return (value.abs().max().float() / _LEVELS).log()


def _own_biases(network: nn.Module, weight: Weight) -> list[Place]:
    """Return the biases that are added with a weight and stand in no other place, under masks at most."""
    uses = Counter(id(parameter) for _, parameter in network.named_parameters(remove_duplicate=False))
    own = [place for place in biases_of(weight) if all(uses[id(behind)] == 1 for behind in originals(*place))]
    return [place for place in own if all(isinstance(kind, Mask | LearnedGrid) for kind in constraints_on(*place))]


def _refuse_parametrized(weights: Sequence[Weight]) -> None:
    """Refuse weights that something else makes of what is trained: weight norm, say."""
    odd = [
        weight.name
        for weight in weights
        if not all(isinstance(kind, Mask | LearnedGrid) for kind in constraints_on(*weight.places[0]))
    ]
    if odd:
        raise ValueError(
            f"constrain: no step can be trained for what a parametrization makes: {few_names(odd)}; "
            "stage.constrain.layers can skip them"
        )
