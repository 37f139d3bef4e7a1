"""Quantisation for an entropy coder: the whole file takes so many bits a weight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from effbench.compression.coarse import store_coarsely
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.learned_grid import learned_grid_on
from effbench.compression.dead_zone import hold_learned_grids, reaches_of
from effbench.compression.duplicate import duplicate
from effbench.compression.even_grid import choose_multiples, hold_on_grid, leave_grid, refuse_unfit
from effbench.compression.feedback import spread_of_errors, takes_feedback
from effbench.compression.layers import Weight, weights_of
from effbench.compression.step_search import (
    WITHIN,
    bounds_of,
    fewest,
    step_by_entropy,
    step_of_length,
    too_low,
)
from effbench.plan.context import Context
from effbench.plan.layer_values import refuse_own_values
from effbench.plan.stage import Stage, note_share
from effbench.training.input_moments import input_moments, output_curvatures
from effbench.training.norms import IMAGES_AT_ONCE, correct_biases, reestimate_norms

_FINER = 2**-0.75
"""The step of a trellis, that of the finer of its grids, in relation to a plain one's at as many bits, about."""


@dataclass(frozen=True, kw_only=True)
class Rate(Stage):
    """Round weights to multiples of a step, by which the run's file takes `rate` bits a weight.

    `rate` = 8 x the length of the whole file / the convolution, linear, attention and recurrent weights of the network
    that the stage receives, zeros counted. The step is found by bisection: the file is written with `coder` at each
    trial (`context.code_length`), until its length is within 1 % of what is asked; the metric `rate_reached/<step>`
    says what it came to. A network whose file is smaller as it is keeps its weights.

    A uniform grid through zero and an entropy coder are within 0.25 bits a weight of what is possible at equal error
    (Gish and Pierce 1968; for networks DeepCABAC, arXiv:1907.11900). trellis=true takes a part of these 0.25 bits;
    allocation=sensitivity gives each weight the step at which an error costs as much as in the others
    (water-filling: WaterSIC, arXiv:2603.04956; the curvature by K-FAC, arXiv:1503.05671); rounding=feedback lets
    weights make good for the errors of those before them (GPTQ, arXiv:2210.17323, section 3); price > 0 prefers what
    the coder says in fewer bits. Batch norms are given the statistics of the rounded network, biases without one are
    shifted to the mean output of the network as it was, and the parameters of norms and biases are rounded to what
    `small` says. All of it looks at `examples` training examples without their labels; data_free=true at none: there
    is then one step, no feedback, and norms keep their statistics.

    A network that was trained for it on grids of its own (`stages.constrain`) keeps them: what is too long is cut from
    the codes that are nearest to zero, and `allocation`, `rounding`, `trellis`, `price` and `layers` have no say.
    """

    VERSION: ClassVar[int] = 1
    LAYER_FIELD: ClassVar[str | None] = "rate"

    rate: Annotated[float, Field(gt=0, le=16)]
    """Bits a weight in the whole file."""
    coder: Literal["none", "huffman", "ans", "context"] = "context"
    """The coder of which the file is to have this length: it should be the run's."""
    allocation: Literal["flat", "sensitivity"] = "sensitivity"
    """One step for all weights, or for each in relation to the others by how much the loss curves in them."""
    rounding: Literal["nearest", "feedback"] = "feedback"
    """To which multiple of the step a weight goes."""
    trellis: bool = True
    """Whether rounding is trellis-coded: `compression.trellis`."""
    price: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How much squared error, in squares of the step, a bit is worth: `compression.even_grid.choose_multiples`."""
    norms: Literal["kept", "reestimated"] = "reestimated"
    """Whether batch norms get statistics of the rounded network, and biases are corrected."""
    small: Annotated[float, Field(ge=0, le=1)] = 0.01
    """How coarsely parameters of norms and biases are stored, as a share of what their outputs vary by; 0: as they are.
    Batch norms are then scale and shift alone: what trains after this stage needs 0."""
    data_free: bool = False
    """Whether no images are looked at."""
    examples: Annotated[int, Field(ge=1)] = 300
    """Training examples seen; all of them where there are fewer."""

    @property
    def ends_training(self) -> str | None:
        """Batch norms that are scale and shift alone would divide by a variance twice."""
        return None if self.small == 0 else "batch norms are scale and shift alone; stage.rate.small=0 keeps them"

    def __post_init__(self) -> None:
        """Refuse a rate of a layer's own, which no file has."""
        super().__post_init__()
        refuse_own_values(self.layers, "the rate is the whole file's")

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose weights are on one grid. ValueError where no file is so small."""
        network = copy_network(model)
        trained = [weight for weight in weights_of(network) if learned_grid_on(*weight.places[0]) is not None]
        if trained:
            self.say_share({weight.name for weight in trained}, network, context)
        acted = trained or list(self.values_by_weight(network, context))
        refuse_unfit(acted)
        search = _Search(stage=self, context=context, network=network, names=[weight.name for weight in acted])
        return search.run_trained() if trained else search.run()


@dataclass
class _Search:
    """The step at which the file has its length, and the network there."""

    stage: Rate
    context: Context
    network: nn.Module
    """As the stage receives it."""
    names: list[str]
    """Of the weights that are rounded."""
    spreads: Mapping[str, Tensor] = field(default_factory=dict)
    """Of their inputs, of those that show them."""
    relative_steps: Mapping[str, float] = field(default_factory=dict)
    """Of those that are not one."""

    def run(self) -> nn.Module:
        """Return the network whose file has the length that is asked for. ValueError where none is so small."""
        stage = self.stage
        n_weights = sum(weight.value().numel() for weight in weights_of(self.network))
        wanted = stage.rate * n_weights / 8
        length = self._length(self.network)
        if not self.names or length <= (1 + 2 * WITHIN) * wanted:
            self._say(length, n_weights)
            return self.network
        for weight in self._weights(self.network):
            leave_grid(weight)
        least = self._length_at(None)
        if least > wanted:
            raise ValueError(too_low(stage.rate, least, n_weights))
        images = self._images()
        if images and (stage.rounding == "feedback" or stage.allocation == "sensitivity"):
            self.spreads = self._input_spreads(images)
        if images and stage.allocation == "sensitivity":
            self.relative_steps = self._relative_steps(images)
        values = [
            weight.value().cpu() / self.relative_steps.get(weight.name, 1.0) for weight in self._weights(self.network)
        ]
        step, bounds, off = step_by_entropy(values, wanted - least), bounds_of(values), 0.0
        if stage.trellis:
            step *= _FINER
        for _ in range(3):
            step = step_of_length(self._length_at, wanted - off, first=step, bounds=bounds, least=least)
            network = self._finished(self._rounded(step), images)
            length = self._length(network)
            if abs(length - wanted) <= 2 * WITHIN * wanted:
                break
            off += length - wanted
        self._say(length, n_weights)
        return network

    def run_trained(self) -> nn.Module:
        """Return the network, which was trained for this length, with so many codes more at zero as are too long.

        Those that are nearest to it. ValueError where that is not enough.
        """
        n_weights = sum(weight.value().numel() for weight in weights_of(self.network))
        wanted = self.stage.rate * n_weights / 8
        reaches = torch.cat([torch.zeros(1), reaches_of(self.network)])

        def held(n_zeroed: int) -> nn.Module:
            return hold_learned_grids(duplicate(self.network), reach=float(reaches[n_zeroed]))

        def length_at(n_zeroed: int) -> int:
            return self._length(store_coarsely(held(n_zeroed), self.stage.small))

        n_zeroed = fewest(length_at, wanted, most=len(reaches) - 1)
        network = held(n_zeroed)
        if self.stage.norms == "reestimated":
            # What they counted while codes changed from step to step is not what they see now.
            reestimate_norms(network, self._images(), device=self.context.device)
        network = store_coarsely(network, self.stage.small)
        length = self._length(network)
        if length > wanted and n_zeroed == len(reaches) - 1:
            raise ValueError(too_low(self.stage.rate, length, n_weights))
        self._say(length, n_weights)
        return network

    def _images(self) -> list[Tensor]:
        """Return what may be looked at."""
        stage = self.stage
        return [] if stage.data_free else list(self.context.training_images(stage.examples, at_once=IMAGES_AT_ONCE))

    def _length_at(self, step: float | None) -> int:
        """Return the bytes of the file at a step, None for all zero, but for what is yet to be made fit for it."""
        return self._length(store_coarsely(self._rounded(step), self.stage.small))

    def _say(self, length: int, n_weights: int) -> None:
        """Note what the file came to, and with which coder: another one's has another length."""
        step = self.context.step
        self.context.findings.note(f"rate_reached/{step}", 8 * length / n_weights)
        self.context.findings.note(f"rate_bytes/{step}", length)
        self.context.findings.say(f"made_for/{step}", self.stage.coder)

    def _length(self, network: nn.Module) -> int:
        return self.context.code_length(network, self.stage.coder)

    def _input_spreads(self, images: list[Tensor]) -> dict[str, Tensor]:
        """Return the spread of errors of each weight whose inputs are seen, and note the share of which it is known."""
        weights = list(self._weights(self.network))
        free = filter(takes_feedback, weights)
        moments = input_moments(self.network, free, images, device=self.context.device)
        note_share("feedback_share", moments, weights, self.context)
        return {name: spread_of_errors(of_weight) for name, of_weight in moments.items()}

    def _relative_steps(self, images: list[Tensor]) -> dict[str, float]:
        """Return steps at which an error of each weight, after feedback, costs the same: 1 / sqrt(curvature).

        By K-FAC, that of the loss in its output times that of its inputs, of which the geometric mean over columns is
        taken of what is left of each after those to come (as of water-filling: WaterSIC, arXiv:2603.04956).
        """
        weights = [weight for weight in self._weights(self.network) if weight.name in self.spreads]
        curvatures = output_curvatures(
            self.network,
            weights,
            images[:1],
            device=self.context.device,
            generator=self.context.generator(),
        )
        logs = {}
        for name, curvature in curvatures.items():
            left = -2 * self.spreads[name].diagonal(dim1=1, dim2=2).log().mean()
            if curvature > 0:
                logs[name] = -0.5 * (math.log(curvature) + float(left))
        middle = sorted(logs.values())[len(logs) // 2] if logs else 0.0
        return {name: math.exp(value - middle) for name, value in logs.items()}

    def _weights(self, network: nn.Module) -> Iterator[Weight]:
        names = set(self.names)
        return (weight for weight in weights_of(network) if weight.name in names)

    def _rounded(self, step: float | None) -> nn.Module:
        """Return a copy whose weights are on multiples of a step; None: they are zero."""
        trial = duplicate(self.network)
        for weight in self._weights(trial):
            values = weight.value().cpu()
            if step is None:
                hold_on_grid(weight, torch.zeros(values.shape, dtype=torch.int64), 1.0)
                continue
            own = _as_float32(step * self.relative_steps.get(weight.name, 1.0))
            spread = self.spreads.get(weight.name) if self.stage.rounding == "feedback" else None
            is_trellis = self.stage.trellis
            multiples = choose_multiples(values, own, spread=spread, price=self.stage.price, is_trellis=is_trellis)
            hold_on_grid(weight, multiples, own, is_trellis=is_trellis)
        return trial

    def _finished(self, network: nn.Module, images: list[Tensor]) -> nn.Module:
        """Return the rounded network, in place, with norms and biases that fit it."""
        if images and self.stage.norms == "reestimated":
            device = self.context.device
            correct_biases(network, self.network, images[0], device=device)
            reestimate_norms(network, images, device=device)
        return store_coarsely(network, self.stage.small)


def _as_float32(step: float) -> float:
    return float(torch.tensor(step, dtype=torch.float32))
