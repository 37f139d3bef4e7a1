"""Channels found and removed, with all that goes with each; what can't be followed stays, and is named.

What the trace says is checked here: after the removal the network must compute what it computed while nothing read the
channels, with norms over channels that took their statistics over the others.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from effbench.checks.errors import kind_and_line
from effbench.compression.modes import all_trainable, evaluating
from effbench.compression.structure.channel_groups import Channels, find_channels
from effbench.compression.structure.channel_trace import trace
from effbench.compression.structure.merged_blocks import merging_off
from effbench.compression.structure.resizing import Kept, Side, resize, silenced
from effbench.compression.structure.watch import fast_paths_off, run_once

ChannelChoice = Callable[[Sequence[Channels]], Sequence[Tensor]]
"""choose(channels of each layer) -> for each of these, the channels that go, int64: its first few removals, joined."""

_Pair = tuple[Channels, Tensor]
_MOST_TRIALS = 40


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
        """The share of the channels that went, of those that could."""
        going = [pair for pair in zip(self.removable, self.removed, strict=True) if pair[0].layer not in self.kept]
        return sum(len(removed) for _, removed in going) / sum(channels.n for channels, _ in going)


def remove_channels(network: nn.Module, images: Tensor, choose: ChannelChoice, /) -> Removal:
    """Remove the chosen channels in place. Modes, and which parameters train, stay as they are; gradients are dropped.

    images: (N, C, H, W), an input. `choose` sees the network in evaluation mode, all its parameters trainable, and
    gradients that it had. Channels whose removal makes the network fail, or compute something else, stay with the
    others that can't be followed. ValueError, without the network's name, where no channels can be removed.
    """
    images = images.to(next(network.parameters()).device)
    with evaluating(network), all_trainable(network), merging_off(network):
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

    All are tried together, then without those that the module works on in which the network failed (where that says
    nothing: without a half), then these. ValueError where none fit.
    """
    fitting: list[_Pair] = []
    refused: dict[Channels, str] = {}
    waiting = [list(pairs)] if pairs else []
    n_trials = 0
    while waiting:
        tried = waiting.pop()
        n_trials += 1
        refusal = _find_refusal(network, images, [*fitting, *tried])
        if refusal is None:
            fitting += tried
        elif len(tried) == 1 or n_trials > _MOST_TRIALS:
            refused |= dict.fromkeys((channels for channels, _ in tried), refusal.reason)
        else:
            blamed = [pair for pair in tried if pair[0] in refusal.blamed]
            if len(blamed) in (0, len(tried)):
                blamed = tried[len(tried) // 2 :]
            others = [pair for pair in tried if not any(pair is one for one in blamed)]
            waiting += [blamed, others]
    if pairs and not fitting:
        raise ValueError(next(iter(refused.values())))
    resize(kept_after(fitting))
    return refused


@dataclass(frozen=True)
class _Refusal:
    """Why channels can't be removed, and which of them meet where the network failed."""

    reason: str
    blamed: frozenset[Channels] = frozenset()


def _find_refusal(network: nn.Module, images: Tensor, pairs: Sequence[_Pair]) -> _Refusal | None:
    """Return why channels can't be removed, None where they can; the network is left as it was."""
    kept = kept_after(pairs)
    undo = resize(kept)
    try:
        outputs = run_once(network, images)
    except Exception as error:
        reason = f"its forward pass names the number of channels it was written for ({kind_and_line(error)})"
        within = _failing_module(network, error)
        blamed = {channels for channels, _ in pairs if any(one.layer in within for one in channels.touched)}
        return _Refusal(reason, frozenset(blamed))
    finally:
        undo()
    try:
        with silenced(kept), fast_paths_off():
            expected = run_once(network, images)
    except Exception as error:
        return _Refusal(f"what becomes of the others without them can't be checked ({kind_and_line(error)})")
    shapes = [[tuple(tensor.shape) for tensor in _tensors(values)] for values in (expected, outputs)]
    if shapes[0] != shapes[1]:
        return _Refusal(f"its outputs changed shape, {shapes[0]} to {shapes[1]}")
    if differ(outputs, expected):
        return _Refusal("its forward pass mixes or reorders them in a way that can't be followed")
    return None


def _failing_module(network: nn.Module, error: Exception) -> set[nn.Module]:
    """Return the innermost module of the network in which an error was raised, and those within it."""
    modules, innermost = set(network.modules()), network
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and owner in modules:
            innermost = owner
    return set(innermost.modules())


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


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def differ(outputs: Any, expected: Any, /) -> bool:
    """Whether outputs differ by more than another order of float32's additions explains: 1e-3 of the largest.

    Tensors, or what holds tensors of the same shapes; where one value is not finite, the other is the same.
    """
    for one, other in zip(_tensors(outputs), _tensors(expected), strict=True):
        finite = other.isfinite()
        if not torch.equal(one.isfinite(), finite):
            return True
        one, other = one[finite].double(), other[finite].double()
        if one.numel() and bool((one - other).abs().max() > 1e-3 * other.abs().max() + 1e-6):
            return True
    return False
