"""Units that do nothing for a network: those without inputs, and those without readers.

A unit is an output channel of a convolution or linear layer, with all that goes with it (see `channels`). A unit
without inputs (all its incoming weights are zero) gives a constant: that goes into the biases of the layers behind it,
and then nothing need read the unit. A unit without readers (all its outgoing weights are zero) can go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from effbench.compression.duplicate import duplicate
from effbench.compression.layers import weight_of
from effbench.compression.structure.channel_groups import Channels
from effbench.compression.structure.channels import differ, remove_channels
from effbench.compression.structure.known_layers import OVER_CHANNELS
from effbench.compression.structure.watch import order_of_calls, output_of, run_once

Side = Literal["inputs", "readers"]

_ROUNDING = 1e-9
"""Of the largest output: what float64 may differ by without another cause than rounding."""


def remove_dead_units(network: nn.Module, images: Tensor, /) -> int:
    """Remove dead units in place, until there are none; return how many. Modes stay as they are.

    images: (n, channels, side, side), two or more inputs, which show what is constant. A layer keeps one unit at least.
    ValueError where the network's channels can't be followed, or where its outputs change.
    """
    expected = run_once(network, images)
    n_removed = 0
    while n_new := _remove_units_without_readers(network, images):
        n_removed += n_new
    if n_removed and differ(run_once(network, images), expected):
        raise ValueError("its outputs change when units that seem to do nothing are removed")
    return n_removed


def _remove_units_without_readers(network: nn.Module, images: Tensor) -> int:
    """Fold constants, then remove the units without readers, once; return how many.

    Another round may find more: those that only removed units read.
    """
    chosen: list[list[Tensor]] = []

    def choose(layers: Sequence[Channels]) -> list[Tensor]:
        fold_constants(network, [(channels, find_units_without(channels, "inputs")) for channels in layers], images)
        chosen.extend(
            find_units_without(channels, "readers")[: len(channels.sets) - 1] if channels.sets else []
            for channels in layers
        )
        return [torch.cat(units) if units else torch.empty(0, dtype=torch.int64) for units in chosen]

    removal = remove_channels(network, images, choose)
    return sum(len(units) for units, going in zip(chosen, removal.removed, strict=True) if len(going))


def find_units_without(channels: Channels, side: Side, /) -> list[Tensor]:
    """Return the sets of channels whose weights on one side are all zero, (n_set,) int64 each.

    Those that a channel shuffle mixes, or a norm takes together, count as alive.
    """
    if channels.shuffle is not None or any(isinstance(one.layer, OVER_CHANNELS) for one in channels.touched):
        return []
    total = torch.zeros(channels.n)
    n_layers = 0
    for touched in channels.touched:
        layer, makes = touched.layer, touched.role == "makes"
        if not isinstance(layer, _ConvNd | nn.Linear) or (touched.role == "reads") != (side == "readers"):
            continue
        n_layers += 1
        if isinstance(layer, _ConvTransposeNd) or (isinstance(layer, _ConvNd) and layer.groups > 1):
            total += 1  # their weights are not examined: they count as alive
            continue
        weight = weight_of(layer).abs()
        sizes = (weight if makes else weight.transpose(0, 1)).flatten(1).sum(1)
        total.index_add_(0, touched.channels, sizes.cpu().float()[touched.places])
    return [units for units in channels.sets if not total[units].any()] if n_layers else []


def fold_constants(
    network: nn.Module, without_inputs: Sequence[tuple[Channels, Sequence[Tensor]]], images: Tensor, /
) -> None:
    """Put what units without inputs give into the biases of the layers that read them, in place.

    without_inputs: for each layer, its sets of channels whose incoming weights are all zero. They keep their readers
    where what they give is no constant (beside a padded border are zeros), where the layer that reads has no bias, and
    where the network does not run in float64, in which constants are told from rounding.
    """
    constant_units = {channels: units for channels, units in without_inputs if units}
    if not constant_units:
        return
    exact, probe = duplicate(network).double(), images.double()
    if not _runs(exact, probe):
        return
    without = duplicate(exact)
    columns = _columns_read(constant_units)
    for name, numbers in columns.items():
        weight_of(without.get_submodule(name))[:, numbers] = 0
    for name in order_of_calls(exact, columns, probe):
        layer, layer_without = network.get_submodule(name), without.get_submodule(name)
        constant = _constant_between(layer, output_of(exact, name, probe), output_of(without, name, probe))
        if constant is None or (not isinstance(layer.bias, Tensor) and bool((constant != 0).any())):
            # Its columns stay; layers behind it are told from what it really gives.
            layer_without.load_state_dict(exact.get_submodule(name).state_dict())
            continue
        weight_of(layer)[:, columns[name]] = 0
        if isinstance(layer.bias, Tensor):
            assert isinstance(layer_without.bias, Tensor)
            layer_without.bias.detach().add_(constant)
            layer.bias.detach().copy_(layer_without.bias.detach())


def _runs(network: nn.Module, images: Tensor) -> bool:
    """Whether a network runs: one that makes tensors in its forward pass may not do so in another type."""
    try:
        run_once(network, images)
    except RuntimeError:
        return False
    return True


def _constant_between(layer: nn.Module, outputs: Tensor, others: Tensor) -> Tensor | None:
    """Return by how much each output channel differs, (n_out,), everywhere by the same; None where it does not."""
    difference = (outputs - others).movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)
    constant = difference.mean(1)
    spread = (difference - constant[:, None]).abs().max()
    return constant if spread <= _ROUNDING * (1 + difference.abs().max()) else None


def _columns_read(units: Mapping[Channels, Sequence[Tensor]]) -> dict[str, list[int]]:
    """Return, by the name of each layer that reads sets of channels, the numbers of its inputs that these are."""
    columns: dict[str, list[int]] = {}
    for channels, sets in units.items():
        for touched in channels.touched:
            if touched.role == "reads":
                read = touched.places[torch.isin(touched.channels, torch.cat(list(sets)))]
                columns.setdefault(touched.name, []).extend(read.tolist())
    return columns
