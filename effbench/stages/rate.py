"""Quantisation for an entropy coder: the whole file takes so many bits a weight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from effbench.compression.coarse import can_settle, rounded_to, settle_norm, small_parameters
from effbench.compression.constraints.codebook import Codebook
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import HeldGrid, UniformQuantizer
from effbench.compression.constraints.stack import bake_tensor, constraints_on, quantizer_of, register
from effbench.compression.duplicate import duplicate
from effbench.compression.even_grid import (
    choose_multiples,
    entropy_bits,
    hold_on_grid,
    least_step,
    nearest_multiples,
)
from effbench.compression.feedback import spread_of_errors, takes_feedback
from effbench.compression.layers import Weight, weights_of
from effbench.plan.context import Context
from effbench.plan.layer_values import SKIP
from effbench.plan.stage import Stage, few_names
from effbench.training.calibration import first_images
from effbench.training.input_moments import input_moments, output_curvatures
from effbench.training.norms import IMAGES_AT_ONCE, correct_biases, norms_of, reestimate_norms

NOTHING = 32.0
"""The rate at which nothing is done."""
_WITHIN, _MOST_TRIALS = 0.005, 16


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

    def __post_init__(self) -> None:
        """Refuse a rate of a layer's own, which no file has."""
        super().__post_init__()
        if any(value != SKIP for value in self.layers.values()):
            raise ValueError(f"layers={dict(self.layers)}: must be skip; the rate is the whole file's")

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` whose weights are on one grid. ValueError where no file is so small."""
        network = copy_network(model)
        acted = list(self.values_by_weight(network, context))
        _refuse_held(acted)
        search = _Search(stage=self, context=context, network=network, names=[weight.name for weight in acted])
        return search.run()


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
    bounds: tuple[float, float] = (0.0, 0.0)
    """Between which the logarithm of the step is."""

    def run(self) -> nn.Module:
        """Return the network whose file has the length that is asked for. ValueError where none is so small."""
        stage = self.stage
        n_weights = sum(weight.value().numel() for weight in weights_of(self.network))
        wanted = stage.rate * n_weights / 8
        if not self.names or self._length(self.network) <= (1 + 2 * _WITHIN) * wanted:
            self._say(self.network, n_weights)
            return self.network
        for weight in self._weights(self.network):
            _leave_grid(weight)
        least = self._length(self._with_small_parameters(self._rounded(None)))
        if least > wanted:
            raise ValueError(
                f"rate={stage.rate:g}: must be at least {_rounded_up(8 * least / n_weights)} here: so much the file "
                f"takes with every weight zero, in what is no weight ({least:,} bytes)"
            )
        images = [] if stage.data_free else self._images()
        if images and (stage.rounding == "feedback" or stage.allocation == "sensitivity"):
            self.spreads = self._input_spreads(images)
        if images and stage.allocation == "sensitivity":
            self.relative_steps = self._relative_steps(images)
        step, off = self._first_step(wanted - least), 0.0
        for _ in range(3):
            step = self._find(step, wanted - off, least)
            network = self._finished(self._rounded(step), images)
            length = self._length(network)
            if abs(length - wanted) <= 2 * _WITHIN * wanted:
                break
            off += length - wanted
        self._say(network, n_weights)
        return network

    def _say(self, network: nn.Module, n_weights: int) -> None:
        """Note what the file came to, and with which coder: another one's has another length."""
        length, step = self._length(network), self.context.step
        self.context.findings.note(f"rate_reached/{step}", 8 * length / n_weights)
        self.context.findings.note(f"rate_bytes/{step}", length)
        self.context.findings.say(f"made_for/{step}", self.stage.coder)

    def _length(self, network: nn.Module) -> int:
        return self.context.code_length(network, self.stage.coder)

    def _images(self) -> list[Tensor]:
        batches = self.context.data.batches(
            "train",
            side=self.context.side,
            batch_size=IMAGES_AT_ONCE,
            generator=self.context.generator(),
            augmented=False,
        )
        return list(first_images(batches, self.stage.examples))

    def _input_spreads(self, images: list[Tensor]) -> dict[str, Tensor]:
        weights = [weight for weight in self._weights(self.network) if takes_feedback(weight)]
        moments = input_moments(self.network, weights, images, device=self.context.device)
        sizes = {weight.name: weight.value().numel() for weight in self._weights(self.network)}
        if len(moments) < len(sizes):
            share = sum(sizes[name] for name in moments) / sum(sizes.values())
            self.context.findings.note(f"feedback_share/{self.context.step}", share)
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

    def _with_small_parameters(self, network: nn.Module) -> nn.Module:
        """Return the network, in place, with its small parameters as coarse as they will be stored."""
        share = self.stage.small
        if share:
            for parameter in small_parameters(network):
                size = parameter.detach().double().square().mean().sqrt()
                with torch.no_grad():
                    parameter.copy_(rounded_to(parameter.detach(), size, share))
            for norm in norms_of(network):
                if can_settle(norm):
                    settle_norm(norm, share)
        return network

    def _finished(self, network: nn.Module, images: list[Tensor]) -> nn.Module:
        """Return the rounded network, in place, with norms and biases that fit it."""
        if images and self.stage.norms == "reestimated":
            device = self.context.device
            correct_biases(network, self.network, images[0], _with_bias(network), device=device)
            reestimate_norms(network, images, device=device)
        return self._with_small_parameters(network)

    def _first_step(self, wanted: float) -> float:
        """Return the step at which the nearest multiples have the entropy of so many bytes."""
        values = [
            weight.value().cpu() / self.relative_steps.get(weight.name, 1.0) for weight in self._weights(self.network)
        ]
        low = max(least_step(value) for value in values)
        high = max(2 * float(value.abs().max()) for value in values)
        self.bounds = math.log2(low), math.log2(max(high, 2 * low))

        def length(place: float) -> float:
            return sum(entropy_bits(nearest_multiples(value, 2.0**place)) for value in values) / 8

        low, high = self.bounds
        while high - low > 0.02:
            middle = (low + high) / 2
            low, high = (middle, high) if length(middle) > wanted else (low, middle)
        # The step of a trellis is that of the finer of its grids.
        return math.exp2((low + high) / 2 - (0.75 if self.stage.trellis else 0))

    def _find(self, first: float, wanted: float, least: float) -> float:
        """Return the step at which the file has the wanted length, or comes nearest; from a first guess on.

        An octave is a bit a weight at high rates and less at low ones: a secant in octaves, kept between the two steps
        that are known to be too fine and too coarse.
        """
        low, high = self.bounds
        place = math.log2(first)
        tried: dict[float, float] = {}
        while len(tried) < _MOST_TRIALS and place not in tried:
            length = self._length(self._with_small_parameters(self._rounded(2.0**place)))
            tried[place] = math.log(max(length - least, 1) / max(wanted - least, 1))
            if abs(length - wanted) <= _WITHIN * wanted:
                break
            low, high = (place, high) if length > wanted else (low, place)
            place = _next_place(tried, low, high)
        return math.exp2(min(tried, key=lambda place: abs(tried[place])))


def _next_place(tried: Mapping[float, float], low: float, high: float) -> float:
    """Return where a secant through the two nearest places is zero, within the bounds; their middle where it is not."""
    middle = (low + high) / 2
    (place, value), *others = sorted(tried.items(), key=lambda pair: abs(pair[1]))
    slope = (others[0][1] - value) / (others[0][0] - place) if others else -0.35
    if slope >= 0:
        return middle
    aimed = place - value / slope
    return aimed if low < aimed < high else middle


def _with_bias(network: nn.Module) -> list[str]:
    """Return the names of convolutions and linear layers whose own bias can be shifted; none that shares it."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, kinds) and module.bias is not None and not constraints_on(module, "bias")
    ]


def _refuse_held(weights: list[Weight]) -> None:
    """Refuse weights that another technique has quantised."""
    held = [
        weight.name
        for weight in weights
        if not _is_on_even_grid(weight)
        and any(isinstance(kind, (UniformQuantizer, Codebook)) for kind in constraints_on(*weight.places[0]))
    ]
    if held:
        raise ValueError(f"rate: quantised already are {few_names(held)}; give either rate or bits, share, bits_budget")


def _is_on_even_grid(weight: Weight) -> bool:
    """Whether an earlier round has put a weight on its one grid."""
    quantizer = quantizer_of(*weight.places[0])
    return isinstance(quantizer, HeldGrid) and quantizer.granularity == "tensor"


def _leave_grid(weight: Weight) -> None:
    """Take a weight, in place, from the grid of an earlier round; its masks hold on."""
    if _is_on_even_grid(weight):
        (module, tensor_name), *others = weight.places
        masks = [constraint for constraint in constraints_on(module, tensor_name) if isinstance(constraint, Mask)]
        bake_tensor(module, tensor_name, also=others)
        for mask in masks:
            for place, name in weight.places:
                register(place, name, mask)


def _as_float32(step: float) -> float:
    return float(torch.tensor(step, dtype=torch.float32))


def _rounded_up(value: float) -> str:
    return f"{math.ceil(value * 1000) / 1000:g}"
