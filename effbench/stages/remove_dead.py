"""What pruning left without a purpose is removed: units without inputs, and units without readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import bake, constraints_on, hold
from effbench.compression.duplicate import duplicate
from effbench.compression.layers import weight_layers, weight_of
from effbench.compression.structure.dead_units import remove_dead_units
from effbench.compression.structure.edits import record_changes
from effbench.plan.context import Context
from effbench.plan.stage import Stage

N_PROBES = 8


@dataclass(frozen=True, kw_only=True)
class RemoveDead(Stage):
    """Remove dead units, physically: the network computes what it did before, with fewer weights.

    Han et al. 2015, arXiv:1506.02626, section 3.5 ("pruning neurons") have them vanish by regularisation; here the
    constant that a unit without inputs gives goes into the next biases. Masks hold what is left; other constraints are
    made permanent values, as `PruneChannels` does. A network without dead units stays as it is.
    """

    VERSION: ClassVar[int] = 2

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` without dead units. ValueError, with its name, where they can't be followed."""
        if all(bool(torch.all(weight_of(layer) != 0)) for _, layer in weight_layers(model)):
            return duplicate(model)
        masked = {
            name
            for name, layer in weight_layers(model)
            if any(isinstance(c, Mask) for c in constraints_on(layer, "weight"))
        }
        before = bake(model)
        smaller = duplicate(before)
        images = next(context.data.batches("train", side=context.side, batch_size=N_PROBES))[0]
        try:
            n_removed = remove_dead_units(smaller, images)
            record_changes(before, smaller)
        except ValueError as error:
            raise ValueError(f"remove_dead: {type(model).__name__} can't lose units: {error}") from error
        if n_removed == 0:
            return duplicate(model)
        for name, layer in weight_layers(smaller):
            if name in masked:
                hold(layer, Mask(weight_of(layer) != 0))
        return smaller
