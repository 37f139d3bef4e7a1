"""What stages share that give each part of a network a width of its own, by what rounding it alone costs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from effbench.compression.allocation import Frontier, frontier
from effbench.plan.context import Context
from effbench.plan.keys import digest
from effbench.plan.layer_values import refuse_own_values
from effbench.plan.stage import Stage

By = Literal["bits", "accuracy"]
Trial = Callable[[Mapping[str, int]], nn.Module]
"""trial(widths) -> a copy of the network that has those parts rounded, and no others; ready to be evaluated."""
_Choices = NDArray[np.int8]
"""(n_parts,), the number of each part's width, the widest being 0."""

NOTHING = 32.0
"""The budget of bits with which nothing is rounded."""


@dataclass(frozen=True, kw_only=True)
class WidthBudget(Stage):
    """Give each part of a network (a layer's weights, its input) a width, by its measured sensitivity.

    Each part alone is rounded to each of `widths`, the others left as they are, and the loss on the validation split
    is measured: parts times widths evaluations, once for all budgets. What rounding parts together costs is predicted
    as the sum of what each costs alone; of all allocations the one of least predicted loss under the budget is found
    (`allocation`). The sum can be wrong where much is lost: the allocation is then measured, and so is the widest equal
    width under the budget, and the one of less validation loss is taken (its quality may be the lower one). A table of
    the run holds what was measured and chosen.
    """

    LAYER_FIELD: ClassVar[str | None] = "budget"
    TABLE: ClassVar[str]
    """The name of the table."""
    COUNTED: ClassVar[str]
    """What a part has many of, in the plural: weights, activations."""

    budget: float
    """With by=bits, the most bits of one of what is counted, on average; 32 rounds nothing. With by=accuracy, the most
    validation accuracy that may be lost, a fraction; the cheapest allocation on the frontier that is found to lose no
    more is taken, by bisection."""
    by: By = "bits"
    widths: str = "8-6-4-3-2"
    """The widths to choose from."""

    def __post_init__(self) -> None:
        """Refuse what is no budget and no width."""
        super().__post_init__()
        if not re.fullmatch(r"\d{1,2}(-\d{1,2})*", self.widths) or len(set(self.bits)) < len(self.bits):
            raise ValueError(f"widths={self.widths}: must be different widths joined by -, as in 8-6-4-3-2")
        for bits in self.bits:
            self.check_width(bits)
        one = self.COUNTED.removesuffix("s")
        if self.by == "bits" and not min(self.bits) <= self.budget <= NOTHING:
            raise ValueError(
                f"budget={self.budget:g}: must be {min(self.bits)} (the least of widths={self.widths}) to 32 bits "
                f"{'an' if one[0] in 'aeiou' else 'a'} {one}; a fraction is a loss of accuracy, with by=accuracy"
            )
        if self.by == "accuracy" and not 0 <= self.budget < 1:
            raise ValueError(f"budget={self.budget:g}: must be in [0, 1) with by=accuracy; 0.01 is one point")
        if self.by == "accuracy":
            refuse_own_values(self.layers, "with by=accuracy a loss is the network's")

    def check_width(self, bits: int, /) -> None:
        """Refuse a width that is none: ValueError names `widths`."""
        if not 1 <= bits <= 16:
            raise ValueError(f"widths={self.widths}: must be 1 to 16 bits each")

    @property
    def bits(self) -> tuple[int, ...]:
        """The widths, the widest first."""
        return tuple(sorted(map(int, self.widths.split("-")), reverse=True))

    def width_within(self, budget: float, /) -> int | None:
        """Return the widest width within a layer's own budget of bits; None: it is not rounded."""
        return None if budget == NOTHING else next(bits for bits in self.bits if bits <= budget)

    def at_round(self, position: int, n_rounds: int) -> Self:
        """Return the stage for the first round, and one that does nothing for the others: widths stay as they are."""
        return self if position == 1 else replace(self, budget=NOTHING, by="bits")

    def allot(self, sizes: Mapping[str, int], trial: Trial, context: Context, /) -> dict[str, int]:
        """Return the width of each part, and put the table among the run's findings.

        sizes: by part, how many of what is counted it has. ValueError where no allocation keeps the accuracy asked for.
        """
        names, counts = list(sizes), np.array(list(sizes.values()), dtype=np.int64)
        reference = context.validate(trial({}))
        measured = context.keep(f"{self.TABLE}-{self._how()}", lambda: self._measure(names, trial, context)).numpy()
        best = frontier(counts[:, None] * np.array(self.bits), measured[..., 0] - reference.loss)

        def chosen_by(choices: _Choices) -> nn.Module:
            return trial(self._widths(names, choices))

        if self.by == "bits":
            within = best.choices[best.within(self.budget * int(counts.sum()))]
            chosen = self._least_loss(within, chosen_by, context)
        else:
            chosen = self._cheapest(best, chosen_by, context, reference.score)
        quality = context.task.quality(context.data).name
        context.findings.add_table(self.TABLE, self._rows(sizes, measured, chosen, reference.loss, quality))
        return self._widths(names, chosen)

    def _how(self) -> str:
        """Return a key of what decides the measurement: all fields but the budget's, which may differ."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("budget", "by", "widths")}
        if len(self.layers) > 1:  # the first pattern that matches counts: their order is a part of it
            fields["layers"] = list(self.layers.items())
        if fields.get("scale") == "real":  # the option is younger than what was measured without it
            del fields["scale"]
        return digest({**fields, "bits": self.bits, "version": self.VERSION})

    def _widths(self, names: Sequence[str], choices: _Choices) -> dict[str, int]:
        return {name: self.bits[choice] for name, choice in zip(names, choices, strict=True)}

    def _measure(self, names: Sequence[str], trial: Trial, context: Context) -> Tensor:
        """Return loss and quality with each part alone at each width, float64 (n_parts, n_widths, 2)."""
        measured = torch.zeros(len(names), len(self.bits), 2, dtype=torch.float64)
        for row, name in enumerate(names):
            for column, bits in enumerate(self.bits):
                shown = context.validate(trial({name: bits}))
                measured[row, column] = torch.tensor([shown.loss, shown.quality], dtype=torch.float64)
                if context.progress is not None:
                    context.progress(row * len(self.bits) + column + 1, len(names) * len(self.bits))
        return measured

    def _least_loss(self, predicted: _Choices, trial: Callable[[_Choices], nn.Module], context: Context) -> _Choices:
        """Return the allocation of least predicted loss, or the widest equal one where that has less as measured."""
        equal = np.full_like(predicted, next(n for n, bits in enumerate(self.bits) if bits <= self.budget))
        losses = [context.validate(trial(choices)).loss for choices in (predicted, equal)]
        return predicted if losses[0] <= losses[1] else equal

    def _cheapest(
        self, best: Frontier, trial: Callable[[_Choices], nn.Module], context: Context, accuracy: float
    ) -> _Choices:
        """Return the cheapest allocation found that keeps the accuracy: the last of a bisection, which is measured."""
        widest = np.zeros((1, best.choices.shape[1]), np.int8)  # noise may keep it from the frontier
        candidates = np.concatenate([best.choices, widest])

        def keeps(number: int) -> bool:
            # 0.97 - 0.02 is not quite 0.95
            return context.evaluate(trial(candidates[number])) >= accuracy - self.budget - 1e-9

        if not keeps(len(candidates) - 1):
            raise ValueError(
                f"budget={self.budget:g}: must be larger here, as {max(self.bits)} bits in every layer (the most of "
                f"widths={self.widths}) lose more accuracy; or add wider ones"
            )
        chosen: _Choices = candidates[_bisect(keeps, len(candidates) - 1)]
        return chosen

    def _rows(
        self, sizes: Mapping[str, int], measured: NDArray[np.float64], chosen: _Choices, loss: float, quality: str
    ) -> list[dict[str, str | int | float | bool]]:
        """Return the table of sensitivities: a row for each part and width. `loss` is that without any rounding."""
        return [
            {
                "layer": name,
                self.COUNTED: size,
                "bits": bits,
                "loss_increase": float(measured[part, choice, 0] - loss),
                f"{quality}_val": float(measured[part, choice, 1]),
                "chosen": bool(choice == chosen[part]),
            }
            for part, (name, size) in enumerate(sizes.items())
            for choice, bits in enumerate(self.bits)
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
