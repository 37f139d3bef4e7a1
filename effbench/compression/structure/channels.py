"""Channels found and removed, with all that goes with each; what can't be followed stays, and is named.

What the trace says is checked here: after the removal the network must compute what it computed while nothing read the
channels, with norms over channels that took their statistics over the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from effbench.checks.errors import kind_and_line
from effbench.compression.modes import all_trainable, evaluating
from effbench.compression.structure.channel_groups import Channels, find_channels
from effbench.compression.structure.channel_trace import fast_paths_off, trace
from effbench.compression.structure.resizing import Kept, Side, resize, silenced
from effbench.compression.structure.watch import run_once

ChannelChoice = Callable[[Sequence[Channels]], Sequence[Tensor]]
"""choose(channels of each layer) -> for each of these, the channels that go, int64: its first few removals, joined."""

_Pair = tuple[Channels, Tensor]
_MOST_TRIALS = 60


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What became of a network's channels."""

    removable: tuple[Channels, ...]
    removed: tuple[Tensor, ...]
    """For each of the removable ones, which channels went, int64."""
    kept: dict[str, str]
    """By layer, why its outputs stay whole; without those that are the network's outputs."""

    @property
    def share(self) -> float:
        """The share of the removable channels that went."""
        return sum(map(len, self.removed)) / sum(channels.n for channels in self.removable)


def remove_channels(network: nn.Module, images: Tensor, choose: ChannelChoice, /) -> Removal:
    """Remove the chosen channels in place. Modes, and which parameters train, stay as they are; gradients are dropped.

    images: (N, C, H, W), an input. `choose` sees the network in evaluation mode, all its parameters trainable, and
    gradients that it had. Channels whose removal makes the network fail, or compute something else, stay with the
    others that can't be followed. ValueError, without the network's name, where no channels can be removed.
    """
    images = images.to(next(network.parameters()).device)
    with evaluating(network), all_trainable(network):
        try:
            traced = trace(network, images)
        except Exception as error:
            raise ValueError(f"they can't be followed through its forward pass ({kind_and_line(error)})") from error
        removable, kept = find_channels(traced, network)
        if not removable:
            named = "".join(f"; {layer}: {reason}" for layer, reason in list(kept.items())[:3])
            raise ValueError(
                f"none can be removed: all are outputs, or are mixed in a way that can't be followed{named}"
            )
        chosen = list(choose(removable))
        pairs = [pair for pair in zip(removable, chosen, strict=True) if len(pair[1])]
        assert all(len(going) < of_layer.n for of_layer, going in pairs), "a layer keeps at least one channel"
        refused = _remove_what_fits(network, images, pairs)
    for channels, reason in refused.items():
        kept |= dict.fromkeys(_names_of_makers(channels), reason)
    none = torch.zeros(0, dtype=torch.int64)
    removed = [none if channels in refused else going for channels, going in zip(removable, chosen, strict=True)]
    return Removal(removable=tuple(removable), removed=tuple(removed), kept=kept)


def _names_of_makers(channels: Channels) -> list[str]:
    return [touched.name for touched in channels.touched if touched.role == "makes"]


def _remove_what_fits(network: nn.Module, images: Tensor, pairs: Sequence[_Pair]) -> dict[Channels, str]:
    """Remove channels, in place; return those that stay as the network would fail or compute something else.

    All are tried together, then halves of those that do not fit. ValueError where none fit.
    """
    fitting: list[_Pair] = []
    refused: dict[Channels, str] = {}
    waiting = [list(pairs)] if pairs else []
    n_trials = 0
    while waiting:
        tried = waiting.pop()
        n_trials += 1
        reason = _refusal(network, images, [*fitting, *tried])
        if reason is None:
            fitting += tried
        elif len(tried) == 1 or n_trials > _MOST_TRIALS:
            refused |= dict.fromkeys((channels for channels, _ in tried), reason)
        else:
            half = len(tried) // 2
            waiting += [tried[half:], tried[:half]]
    if pairs and not fitting:
        raise ValueError(next(iter(refused.values())))
    resize(kept_after(fitting))
    return refused


def _refusal(network: nn.Module, images: Tensor, pairs: Sequence[_Pair]) -> str | None:
    """Return why channels can't be removed, None where they can; the network is left as it was."""
    kept = kept_after(pairs)
    with silenced(kept), fast_paths_off():
        expected = run_once(network, images)
    undo = resize(kept)
    try:
        return _difference(network, images, expected)
    finally:
        undo()


def kept_after(pairs: Sequence[_Pair], /) -> Kept:
    """Return for each side of a layer the places that stay, in the order in which they are to stand."""
    kept: dict[tuple[nn.Module, Side], Tensor] = {}
    for channels, going in pairs:
        gone = torch.zeros(channels.n, dtype=torch.bool)
        gone[going] = True
        orders = () if channels.shuffle is None else channels.shuffle.keep(torch.nonzero(~gone).flatten())
        for touched in channels.touched:
            key: tuple[nn.Module, Side] = (touched.layer, "in" if touched.role == "reads" else "out")
            if orders:
                kept[key] = orders[touched.is_after]
            else:
                places = kept.get(key, torch.arange(touched.n_places))
                kept[key] = places[~torch.isin(places, touched.places[gone[touched.channels]])]
    return kept


def _difference(network: nn.Module, images: Tensor, expected: Any) -> str | None:
    """Return what is wrong with the smaller network's outputs, None where nothing is."""
    try:
        outputs = run_once(network, images)
    except Exception as error:
        return f"its forward pass names the number of channels it was written for ({kind_and_line(error)})"
    pairs = [[value for value in tree_leaves(one) if isinstance(value, Tensor)] for one in (outputs, expected)]
    shapes = [[tuple(value.shape) for value in values] for values in pairs]
    if shapes[0] != shapes[1]:
        return f"its outputs changed shape, {shapes[1]} to {shapes[0]}"
    if differ(outputs, expected):
        return "its forward pass mixes or reorders them in a way that can't be followed"
    return None


def differ(outputs: Any, expected: Any, /) -> bool:
    """Whether outputs differ by more than another order of float32's additions explains: 1e-3 of the largest.

    Tensors, or what holds tensors of the same shapes; where one value is not finite, the other is the same.
    """
    for one, other in zip(tree_leaves(outputs), tree_leaves(expected), strict=True):
        if isinstance(one, Tensor) and one.numel():
            finite = other.isfinite()
            if not torch.equal(one.isfinite(), finite):
                return True
            one, other = one[finite].double(), other[finite].double()
            if one.numel() and bool((one - other).abs().max() > 1e-3 * other.abs().max() + 1e-6):
                return True
    return False
