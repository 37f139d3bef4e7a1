"""A width for each layer: few bits where the network bears it, more where it does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from effbench.compression.allocation import Frontier, frontier
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.stack import bake, bake_tensor, constraints_on
from effbench.compression.duplicate import duplicate
from effbench.compression.grids import GridOptions
from effbench.compression.layers import Weight, weights_of
from effbench.plan.context import Context
from effbench.plan.keys import digest
from effbench.plan.layer_values import SKIP
from effbench.plan.stage import Stage

By = Literal["bits", "accuracy"]
Choices = NDArray[np.int8]
"""(n_layers,), the number of each layer's width, the widest being 0."""

NOTHING = 32.0
"""The budget of bits with which nothing is rounded."""


@dataclass(frozen=True, kw_only=True)
class BitsBudget(Stage, GridOptions):
    """Give each weight a width of its own, by its measured sensitivity: see `Quantize` for which weights.

    Each alone is rounded to each of `widths`, the others left as they are, and the loss on the validation split
    is measured: layers times widths evaluations, once for all budgets. What rounding layers together costs is predicted
    as the sum of what each costs alone; of all allocations the one of least predicted loss under the budget is found
    (`allocation`). The sum can be wrong where much is lost: the allocation is then measured, and so is the widest equal
    width under the budget, and the better one is taken. (HAWQ, Dong et al. 2019, arXiv:1905.03696, estimates from
    second derivatives what is measured here.) The table `sensitivity` of a run holds what was measured and chosen.
    """

    VERSION: ClassVar[int] = 2
    LAYER_FIELD: ClassVar[str | None] = "budget"

    budget: float
    """With by=bits, the most bits a weight, on average over all that are not zero, before any entropy coding (the bytes
    as a share of 32 bits); 32 rounds nothing. With by=accuracy, the most validation accuracy that may be lost, a
    fraction; the cheapest allocation on the frontier that is found to lose no more is taken, by bisection."""
    by: By = "bits"
    widths: str = "8-6-4-3-2"
    """The widths to choose from."""

    def __post_init__(self) -> None:
        """Refuse what is no budget, no width and no grid."""
        super().__post_init__()
        self.check_grid()
        if not re.fullmatch(r"\d{1,2}(-\d{1,2})*", self.widths) or len(set(self._bits)) < len(self._bits):
            raise ValueError(f"widths={self.widths}: must be different widths joined by -, as in 8-6-4-3-2")
        for bits in self._bits:
            self.check_bits(bits, shown=f"widths={self.widths}")
        if self.by == "bits" and not min(self._bits) <= self.budget <= NOTHING:
            raise ValueError(
                f"budget={self.budget:g}: must be {min(self._bits)} (the least of widths={self.widths}) to 32 bits a "
                "weight; a fraction is a loss of accuracy, with by=accuracy"
            )
        if self.by == "accuracy" and not 0 <= self.budget < 1:
            raise ValueError(f"budget={self.budget:g}: must be in [0, 1) with by=accuracy; 0.01 is one point")
        if self.by == "accuracy" and any(value != SKIP for value in self.layers.values()):
            raise ValueError(f"layers={dict(self.layers)}: must be skip with by=accuracy; a loss is the network's")

    @property
    def _bits(self) -> tuple[int, ...]:
        """The widths, the widest first."""
        return tuple(sorted(map(int, self.widths.split("-")), reverse=True))

    def at_round(self, position: int, n_rounds: int) -> BitsBudget:
        """Return the stage for the first round, and one that does nothing for the others: widths stay as they are."""
        return self if position == 1 else replace(self, budget=NOTHING, by="bits")

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model`, each layer on a grid of its own width. ValueError where by=accuracy can't be."""
        if self.budget == NOTHING and not self.layers:
            return copy_network(model)
        network = copy_network(model)
        names = self._put_own_widths(network, context)
        if self.budget == NOTHING or not names:
            return network
        by_name = _by_name(network)
        n_weights = np.array([int((by_name[name].value() != 0).sum()) for name in names], dtype=np.int64)
        reference = context.validate(network)
        measured = context.keep(f"sensitivity-{self._how()}", lambda: self._measure(network, names, context)).numpy()
        best = frontier(n_weights[:, None] * np.array(self._bits), measured[..., 0] - reference.loss)
        if self.by == "bits":
            within = best.choices[best.within(self.budget * int(n_weights.sum()))]
            chosen = self._least_loss(within, network, names, context)
        else:
            chosen = self._cheapest(best, network, names, context, reference.score)
        quality = context.task.quality(context.data).name
        context.findings.add_table(
            "sensitivity", self._rows(names, n_weights, measured, chosen, reference.loss, quality)
        )
        self._put_all(network, names, chosen, context)
        return network

    def _put_own_widths(self, network: nn.Module, context: Context) -> list[str]:
        """Give layers with a budget of their own the widest width within it; return the names of the others."""
        budgets = self.values_by_weight(network, context)
        own = [weight for weight in budgets if self.has_own_value(weight)]
        for weight in own:
            if budgets[weight] != NOTHING:
                bits = next(bits for bits in self._bits if bits <= budgets[weight])
                self.put_on_grid(weight, bits, generator=context.generator())
        return [weight.name for weight in budgets if weight not in own]

    def _how(self) -> str:
        """Return a key of what decides the measurement: all fields but the budget's, which may differ."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("budget", "by", "widths")}
        if self.scale == "real":  # the option is younger than what was measured without it
            del fields["scale"]
        return digest({**fields, "bits": self._bits, "version": self.VERSION})

    def _measure(self, network: nn.Module, names: list[str], context: Context) -> Tensor:
        """Return loss and quality with each layer alone at each width, float64 (n_layers, n_widths, 2)."""
        measured = torch.zeros(len(names), len(self._bits), 2, dtype=torch.float64)
        for row, name in enumerate(names):
            for column, bits in enumerate(self._bits):
                trial = duplicate(network)
                weight = _by_name(trial)[name]
                self.put_on_grid(weight, bits, generator=context.generator())
                (module, tensor_name), *others = weight.places
                if constraints_on(module, tensor_name):
                    bake_tensor(module, tensor_name, also=others)  # rounded once, not in every forward pass
                shown = context.validate(trial)
                measured[row, column] = torch.tensor([shown.loss, shown.quality], dtype=torch.float64)
                if context.progress is not None:
                    context.progress(row * len(self._bits) + column + 1, len(names) * len(self._bits))
        return measured

    def _least_loss(self, predicted: Choices, network: nn.Module, names: list[str], context: Context) -> Choices:
        """Return the allocation of least predicted loss, or the widest equal one where that has less as measured."""
        equal = np.full_like(predicted, next(n for n, bits in enumerate(self._bits) if bits <= self.budget))
        trials = [self._trial(network, names, choices, context) for choices in (predicted, equal)]
        losses = [context.validate(trial).loss for trial in trials]
        return predicted if losses[0] <= losses[1] else equal

    def _cheapest(
        self, best: Frontier, network: nn.Module, names: list[str], context: Context, accuracy: float
    ) -> Choices:
        """Return the cheapest allocation found that keeps the accuracy: the last of a bisection, which is measured."""
        widest = np.zeros((1, best.choices.shape[1]), np.int8)  # noise may keep it from the frontier
        candidates = np.concatenate([best.choices, widest])

        def keeps(number: int) -> bool:
            trial = self._trial(network, names, candidates[number], context)
            return context.evaluate(trial) >= accuracy - self.budget - 1e-9  # 0.97 - 0.02 is not quite 0.95

        if not keeps(len(candidates) - 1):
            raise ValueError(
                f"budget={self.budget:g}: must be larger here, as {max(self._bits)} bits in every layer (the most of "
                f"widths={self.widths}) lose more accuracy; or add wider ones"
            )
        chosen: Choices = candidates[_bisect(keeps, len(candidates) - 1)]
        return chosen

    def _trial(self, network: nn.Module, names: list[str], chosen: Choices, context: Context) -> nn.Module:
        """Return a rounded copy, whose forward passes need not round anew."""
        trial = duplicate(network)
        self._put_all(trial, names, chosen, context)
        return bake(trial)

    def _put_all(self, network: nn.Module, names: list[str], chosen: Choices, context: Context) -> None:
        weights = _by_name(network)
        for name, choice in zip(names, chosen, strict=True):
            self.put_on_grid(weights[name], self._bits[choice], generator=context.generator())

    def _rows(
        self,
        names: list[str],
        n_weights: NDArray[np.int64],
        measured: NDArray[np.float64],
        chosen: Choices,
        loss: float,
        quality: str,
    ) -> list[dict[str, str | int | float | bool]]:
        """Return the table of sensitivities: a row for each layer and width. `loss` is that without any rounding."""
        return [
            {
                "layer": name,
                "weights": int(n_weights[layer]),
                "bits": bits,
                "loss_increase": float(measured[layer, choice, 0] - loss),
                f"{quality}_val": float(measured[layer, choice, 1]),
                "chosen": bool(choice == chosen[layer]),
            }
            for layer, name in enumerate(names)
            for choice, bits in enumerate(self._bits)
        ]


def _bisect(holds: Callable[[int], bool], last: int) -> int:
    """Return a number that holds, where `last` does: the least, if all above it hold, too.

    >>> _bisect(lambda number: number >= 3, 10), _bisect(lambda number: True, 10)
    (3, 0)
    """
    low, high = -1, last
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _by_name(network: nn.Module) -> dict[str, Weight]:
    return {weight.name: weight for weight in weights_of(network)}
