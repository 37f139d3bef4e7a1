"""Units that do nothing for a network: those that hear nothing, and those that nothing hears.

A unit is an output channel of a convolution or linear layer, with all that goes with it (see `effbench.compression.structure.channels`).
What hears nothing (all its incoming weights are zero) gives a constant: that goes into the biases of the layers behind
it, and then nothing need hear it. What nothing hears (all its outgoing weights are zero) can go.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from effbench.compression.structure.channels import Channels, remove_channels

_SAME = 1e-9
"""Of the largest output: what float64 may differ by without another cause than rounding."""


def remove_dead_units(network: nn.Module, images: Tensor, /) -> int:
    """Remove dead units in place, until there are none; return how many. The network is then in eval mode.

    images: (n, channels, side, side), two or more inputs, which show what is constant. A layer keeps one unit at least.
    ValueError where the network's channels can't be followed.
    """
    with torch.no_grad():
        expected = copy.deepcopy(network).eval()(images)
    n_removed = 0
    while n_new := _remove_unheard(network, images):
        n_removed += n_new
    with torch.no_grad():
        outputs = network(images)
    if n_removed and (outputs - expected).abs().max() > 1e-3 * expected.abs().max() + 1e-6:
        raise ValueError("its outputs change when units that seem to do nothing are removed")
    return n_removed


def _remove_unheard(network: nn.Module, images: Tensor) -> int:
    """Fold constants, then remove what nothing hears, once; what heard only that may be unheard after. How many."""
    chosen: list[list[Tensor]] = []

    def choose(found: Sequence[Channels]) -> list[Tensor]:
        fold_constants(network, [(channels, _silent_sets(channels, hears=True)) for channels in found], images)
        chosen.extend(
            _silent_sets(channels, hears=False)[: channels.n // channels.n_together - 1] for channels in found
        )
        return [torch.cat(sets) if sets else torch.empty(0, dtype=torch.int64) for sets in chosen]

    remove_channels(network, images, choose)
    return sum(map(len, chosen))


def fold_constants(network: nn.Module, deaf: Sequence[tuple[Channels, Sequence[Tensor]]], images: Tensor, /) -> None:
    """Put what units that hear nothing give into the biases of those that hear them, in place.

    deaf: sets of channels whose incoming weights are all zero. Left as it is is what is no constant where it is heard
    (a padded border has zeros beside it) and what a layer without bias hears.
    """
    heard = {one: sets for one, sets in deaf if sets}
    if not heard:
        return
    exact, probe = copy.deepcopy(network).double().eval(), images.double()
    silenced = copy.deepcopy(exact)
    columns = _heard_columns(network, heard)
    for name, numbers in columns.items():
        _weight(silenced.get_submodule(name))[:, numbers] = 0
    for name in _in_order(exact, probe, columns):
        layer = network.get_submodule(name)
        difference = _output(exact, name, probe) - _output(silenced, name, probe)
        difference = difference.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)
        constant = difference.mean(1)
        spread = (difference - constant[:, None]).abs().max()
        is_constant = spread <= _SAME * (1 + difference.abs().max())
        has_bias = isinstance(layer.bias, Tensor)
        if not is_constant or (not has_bias and bool((constant != 0).any())):
            # Its columns stay; layers behind it are told from what it really gives.
            silenced.get_submodule(name).load_state_dict(exact.get_submodule(name).state_dict())
            continue
        _weight(layer)[:, columns[name]] = 0
        if has_bias:
            assert isinstance(layer.bias, Tensor)
            folded = silenced.get_submodule(name).bias
            assert isinstance(folded, Tensor)
            folded.detach().add_(constant)
            layer.bias.detach().copy_(folded.detach())


def _silent_sets(channels: Channels, *, hears: bool) -> list[Tensor]:
    """Return the sets of channels whose weights are all zero: the incoming ones (`hears`), or the outgoing ones."""
    if channels.passage is not None:  # they are mixed in a channel shuffle: they count as alive
        return []
    total = torch.zeros(channels.n)
    n_layers = 0
    for item in channels.group:
        layer, is_output = item.dep.target.module, item.dep.handler.__name__ == "prune_out_channels"
        if not isinstance(layer, _ConvNd | nn.Linear) or is_output != hears:
            continue
        n_layers += 1
        if isinstance(layer, _ConvTransposeNd) or (isinstance(layer, _ConvNd) and layer.groups > 1):
            total += 1  # not looked into: they count as alive
            continue
        weight = _weight(layer).abs()
        sizes = (weight if is_output else weight.transpose(0, 1)).flatten(1).sum(1)
        total.index_add_(0, torch.tensor(item.root_idxs), sizes[item.idxs].cpu().float())
    together = torch.arange(channels.n).view(channels.n_together, -1)
    return list(together[:, total[together].sum(0) == 0].T) if n_layers else []


def _heard_columns(network: nn.Module, heard: Mapping[Channels, Sequence[Tensor]]) -> dict[str, list[int]]:
    """Return, by the name of each layer that hears sets of channels, the numbers of its inputs that these are."""
    names = {module: name for name, module in network.named_modules()}
    columns: dict[str, list[int]] = {}
    for channels, sets in heard.items():
        chosen = set(torch.cat(list(sets)).tolist())
        for item in channels.group:
            layer = item.dep.target.module
            if isinstance(layer, _ConvNd | nn.Linear) and item.dep.handler.__name__ == "prune_in_channels":
                pairs = zip(item.idxs, item.root_idxs, strict=True)
                columns.setdefault(names[layer], []).extend(place for place, root in pairs if root in chosen)
    return columns


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def _in_order(network: nn.Module, images: Tensor, names: Iterable[str]) -> list[str]:
    """Return the names of layers in the order in which they are first called."""
    order: list[str] = []
    handles = [
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: order.append(name)) for name in names
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(order))


def _output(network: nn.Module, name: str, images: Tensor) -> Tensor:
    """Return what the layer of that name gives for images: (n, n_out, ...)."""
    found: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_hook(lambda *call: found.append(call[2]))
    try:
        with torch.no_grad():
            network(images)
    finally:
        handle.remove()
    return found[0]
