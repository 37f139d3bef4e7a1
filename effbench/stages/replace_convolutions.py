"""Convolutions replaced by cheaper ones before anything is trained: depthwise-separable, grouped, shuffled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.compression.constraints.copies import copy_network
from effbench.compression.constraints.stack import bake_tensor, constrained_value, parameter_behind
from effbench.compression.duplicate import duplicate
from effbench.compression.layers import weight_of
from effbench.compression.structure.convolutions import Convolutions, find_convolutions
from effbench.compression.structure.edits import Edit, EditKind
from effbench.compression.structure.rebuild import apply_edits
from effbench.compression.structure.redrawn import Drawn, draw_weights
from effbench.compression.structure.rewritten import Rewritten, n_entries, separable_widths, shuffled_widths
from effbench.compression.structure.watch import run_once
from effbench.plan.context import Context
from effbench.plan.stage import Stage

Form = Literal["standard", "separable", "grouped", "shuffle"]


@dataclass(frozen=True, kw_only=True)
class ReplaceConvolutions(Stage):
    """Replace the k × k convolutions of a network, k > 1, by cheaper ones, whose weights are drawn anew.

    conv: `separable`, a depthwise k × k convolution with the stride, padding and dilation of the layer and a pointwise
    one (Howard et al. 2017, arXiv:1704.04861, section 3.1): 1/N + 1/k² of the multiply-adds, for N output channels.
    `grouped`: the same convolution in groups, `shuffle`: with a channel shuffle after it (Zhang et al. 2017,
    arXiv:1707.01083, section 3.1): one part in `groups` of the multiply-adds; as many groups as channels are a
    depthwise convolution. `standard` leaves a layer as it is.

    Between the depthwise and the pointwise convolution stands a batch norm where batch norms take the outputs of the
    network's convolutions, with the settings of theirs, and else nothing; never a rectifier. Weights are drawn as the
    layer's own seem to have been (uniform or normal, for outputs of the same variance: `redrawn`); a bias stays. What a
    network brought with it in these layers is lost.

    The first convolution stays, and so does what has groups already, is transposed, would not become smaller, has
    tensors or computations of its own, is frozen or tied, is not called as a module, or whose attributes the network
    uses. The run has the metric acted_share/<step>, and the table `kept_convolutions`, which says why.
    """

    VERSION: ClassVar[int] = 1
    LAYER_FIELD: ClassVar[str | None] = "conv"
    RENAMES_LAYERS: ClassVar[bool] = True
    DRAWS_WEIGHTS: ClassVar[bool] = True

    conv: Form
    """What the convolutions become."""
    groups: Annotated[int, Field(ge=2)] = 4
    """Of `grouped` and `shuffle`: at most so many, as many as divide a layer's channels in and out."""
    first: bool = False
    """Whether the convolutions that read the network's input are replaced as well."""

    @property
    def is_neutral(self) -> bool:
        """Whether every layer stays as it is."""
        return self.conv == "standard" and all(value in ("standard", "skip") for value in self.layers.values())

    def at_round(self, position: int, n_rounds: int) -> ReplaceConvolutions:
        """Return the stage for the first round, and one that does nothing for the others: nothing is left to do."""
        return self if position == 1 else self.with_layer_values(lambda form: "standard")

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` with other convolutions. ValueError where it does not run with them."""
        plain = copy_network(model)
        if self.is_neutral:
            return plain
        forms = {path: form for path, form in self.values_by_layer(plain, context).items() if form != "standard"}
        images = next(context.data.batches("val", side=context.side, batch_size=1))[0]
        found = find_convolutions(plain, images, first=self.first)
        edits = {
            path: edit
            for path, layer in found.layers.items()
            if path in forms and (edit := self._edit(found, path, layer, forms[path])) is not None
        }
        rewritten = _rewritten(plain, edits, images, found, context.generator())
        self.say_share([path for path in edits if path not in found.kept], model, context)
        kept = [{"layer": path, "reason": reason} for path, reason in found.kept.items() if path in forms]
        if kept:
            context.findings.add_table("kept_convolutions", kept)
        return rewritten

    def _edit(self, found: Convolutions, path: str, layer: nn.Module, form: Form) -> Edit | None:
        """Return what makes a layer another; None, with the reason noted, where that would be no smaller."""
        weight = weight_of(layer)
        if form == "separable":
            edit = Edit(EditKind.REWRITTEN, separable_widths(layer, found.norm_of(layer)))
            if n_entries(layer, edit.widths) < weight.numel():
                return edit
            found.kept[path] = "it would not become smaller"
            return None
        n_out, n_in = weight.shape[:2]
        common = gcd(n_in, n_out)
        groups = max(n for n in range(1, min(self.groups, common) + 1) if common % n == 0)
        if groups == 1:
            found.kept[path] = f"no number of groups up to {self.groups} divides its {n_in} and {n_out} channels"
            return None
        if form == "grouped":
            return Edit(EditKind.RESIZED, (n_in, n_out, groups))
        return Edit(EditKind.REWRITTEN, shuffled_widths(layer, groups))


def _rewritten(
    network: nn.Module, edits: dict[str, Edit], images: Tensor, found: Convolutions, generator: torch.Generator
) -> nn.Module:
    """Return a copy of a network with edited layers, their weights drawn.

    Layers with which the copy does not run leave `edits`, with the reason in `found.kept`. ValueError where it does not
    run with the others.
    """
    drawn = {path: _drawn(path, found.layers[path]) for path in edits}
    edited = _edited(network, edits)
    if (problem := _problem(edited, images)) is not None:
        for path in list(edits):
            own = _problem(_edited(network, {path: edits[path]}), images)
            if own is not None:
                found.kept[path] = f"the network uses what only this layer has: {own}"
                del edits[path]
        edited = _edited(network, edits)
        problem = _problem(edited, images)
    if problem is not None:
        raise ValueError(
            f"conv: {type(network).__name__} does not run with its convolutions replaced ({problem}); skip some by "
            "stage.replace_convolutions.layers="
        )
    draw_weights(edited, {path: drawn[path] for path in edits}, generator)
    return edited


def _drawn(path: str, layer: nn.Module) -> Drawn:
    try:
        return Drawn.like(weight_of(layer))
    except ValueError as error:
        raise ValueError(f"conv: {path}: {error}") from None


def _edited(network: nn.Module, edits: Mapping[str, Edit]) -> nn.Module:
    """Return a copy of a network with edits made; the layers' biases are there, their weights have no values."""
    edited = duplicate(network)
    biases: dict[str, Tensor] = {}
    for path in edits:
        layer = edited.get_submodule(path)
        for name in list(getattr(layer, "parametrizations", ())):
            bake_tensor(layer, name)
        if layer.bias is not None:
            biases[path] = constrained_value(layer, "bias")
    apply_edits(edited, edits)
    for path, bias in biases.items():
        module = edited.get_submodule(path)
        if isinstance(module, Rewritten):
            with torch.no_grad():
                parameter_behind(module.last, "bias").copy_(bias)
    return edited


def _problem(network: nn.Module, images: Tensor) -> str | None:
    """Return why a network does not run on images; None where it does."""
    try:
        run_once(network, images)
    except Exception as error:
        return kind_and_line(error)
    return None
