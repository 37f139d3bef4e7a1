"""Which channels of a network can go, and with what: groups of layers that must keep equally many, from its trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from effbench.compression.layers import n_groups, weight_layers
from effbench.compression.structure.channel_labels import roots_of, union
from effbench.compression.structure.channel_trace import OUTPUTS, SINGLE, UNSEEN, Crossing, Trace, TracedLayer
from effbench.compression.structure.shuffle import Shuffle
from effbench.compression.structure.shuffled_channels import find_shuffle
from effbench.compression.structure.touched import Role, Touched, importance_group

_SHUFFLED = "a channel shuffle takes them to where they can't be followed"


@dataclass(frozen=True, kw_only=True, eq=False)
class Channels:
    """The output channels of a layer and of those that must keep as many, as in a residual sum."""

    layer: str
    n: int
    sets: tuple[Tensor, ...] = ()
    """The channels that go together, (n_set,) int64 each: those at one place of each group of a grouped convolution."""
    touched: tuple[Touched, ...] = ()
    shuffle: Shuffle | None = None
    """How they go through a channel shuffle, where they do; that decides then which go together."""

    @property
    def makers(self) -> tuple[str, ...]:
        """The names of the layers that make them or pass them on."""
        return tuple(touched.name for touched in self.touched if touched.role != "reads")

    @property
    def group(self) -> list[Any]:
        """Torch-Pruning's group, with all channels: what its importance criteria take."""
        return importance_group(self.n, self.touched)

    def removals(self, importance: Tensor, /) -> list[Tensor]:
        """Return sets of channels, (n_set,) each, in the order in which they can go; at least one channel is in none.

        importance: (n,). The least important go first; the importance of a set is the mean of its channels'.
        """
        if self.shuffle is not None:
            return self.shuffle.removals(importance)
        if len({len(going) for going in self.sets}) == 1:
            means = importance[torch.stack(self.sets)].mean(1)
        else:
            means = torch.stack([importance[going].mean() for going in self.sets])
        return [self.sets[number] for number in means.argsort(stable=True).tolist()][:-1]


def find_channels(trace: Trace, network: nn.Module, /) -> tuple[list[Channels], dict[str, str]]:
    """Return the channels that can go, and by layer why others stay; the network's outputs are not mentioned."""
    groups = _Groups(trace)
    removable, kept = [], {name: UNSEEN for name, layer in weight_layers(network) if layer not in trace.layers}
    for number in groups.with_makers():
        found = groups.channels(number)
        if isinstance(found, Channels):
            removable.append(found)
        elif found != OUTPUTS:
            kept |= {record.name: found for record in groups.makers[number] if _n_made(record) > 1}
    return removable, kept


def _tensors(sets: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
    if len({len(channels) for channels in sets}) == 1:
        return tuple(torch.tensor(sets))  # one tensor of all is made much faster than many
    return tuple(torch.tensor(channels) for channels in sets)


def _n_made(record: TracedLayer) -> int:
    return 0 if record.makes is None else len(record.makes)


class _Groups:
    """The sets of channels of a trace, joined where one layer makes both, or one shuffle takes both."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._channels, self._sets = trace.labels.channels(), trace.labels.sets()
        parents = self._sets.tolist()
        makes = [record.makes for record in trace.layers.values() if record.makes is not None]
        for labels in (*makes, *(side for one in trace.crossings for side in (one.before, one.after))):
            first, *others = dict.fromkeys(self._sets[labels].tolist())
            for other in others:
                union(parents, first, other)
        self._groups = torch.tensor(roots_of(parents))
        self.makers: dict[int, list[TracedLayer]] = {}
        for layer in trace.from_outputs:
            record = trace.layers[layer]
            if record.makes is not None:
                self.makers.setdefault(self._of(record.makes), []).append(record)
        self._touching = self._sides()

    def with_makers(self) -> list[int]:
        """Return the groups whose channels a layer makes, from the network's outputs back."""
        return list(self.makers)

    def channels(self, number: int) -> Channels | str:
        """Return the channels of a group; the reason where they stay."""
        trace, makers = self.trace, self.makers[number]
        made = torch.cat([record.makes for record in makers if record.makes is not None])
        numbering = self._numbering(made)
        reason, n = trace.labels.reason(made), len(numbering)
        if reason is not None and (n, reason) != (1, SINGLE):
            return reason
        crossings = [one for one in trace.crossings if number in (self._of(one.before), self._of(one.after))]
        if crossings:
            return self._through_shuffle(number, n, crossings)
        members: dict[int, list[int]] = {}
        for channel, own in numbering.items():
            members.setdefault(int(self._sets[channel]), []).append(own)
        if len(members) == 1 and n > 1:
            return "all of them go together"
        touched = self._touched(number, numbering)
        for one in touched:
            if n_groups(one.layer) > 1 and not one.is_whole(n):
                return f"{one.name} divides them into {n_groups(one.layer)} groups together with others"
        return Channels(
            layer=makers[0].name, n=n, sets=_tensors(sorted(map(sorted, members.values()))), touched=touched
        )

    def _through_shuffle(self, number: int, n: int, crossings: Sequence[Crossing]) -> Channels | str:
        crossing, *others = crossings
        beyond = self._of(crossing.after)
        again = [one for one in self.trace.crossings if beyond in (self._of(one.before), self._of(one.after))]
        if others or again != [crossing] or beyond == number or beyond in self.makers or len(crossing.before) != n:
            return _SHUFFLED
        sides = [self._touched(of, self._numbering(labels)) for of, labels in
                 ((number, crossing.before), (beyond, crossing.after))]  # fmt: skip
        reason = self.trace.labels.reason(crossing.after)
        shuffle = find_shuffle(n, crossing.groups, *sides)
        if reason is not None or shuffle is None:
            return reason or _SHUFFLED
        named = shuffle.places.argsort()
        after = tuple(replace(one, channels=named, is_after=True) for one in sides[1])
        return Channels(layer=self.makers[number][0].name, n=n, touched=(*sides[0], *after), shuffle=shuffle)

    def _of(self, labels: Tensor) -> int:
        return int(self._groups[labels[0]])

    def _numbering(self, labels: Tensor) -> dict[int, int]:
        """Return a number from 0 for each channel that the labels name, in their order."""
        return {channel: own for own, channel in enumerate(dict.fromkeys(self._channels[labels].tolist()))}

    def _sides(self) -> dict[int, list[tuple[TracedLayer, Role, Tensor, Tensor]]]:
        """Return for each group the sides of layers that have channels of it: at which places, and which channels."""
        sides: dict[int, list[tuple[TracedLayer, Role, Tensor, Tensor]]] = {}
        for record, role, labels in self._labelled():
            groups = self._groups[labels]
            for number in sorted(set(groups.tolist())):
                if number:  # that of what is no channel of a layer
                    places = torch.nonzero(groups == number).flatten()
                    sides.setdefault(number, []).append((record, role, places, self._channels[labels[places]]))
        return sides

    def _labelled(self) -> Iterator[tuple[TracedLayer, Role, Tensor]]:
        for record in self.trace.layers.values():
            if record.reads is not None:
                yield record, "reads", record.reads
            if record.passes is not None:
                yield record, "passes", record.passes
            if record.makes is not None:
                yield record, "makes", record.makes

    def _touched(self, number: int, numbering: dict[int, int]) -> tuple[Touched, ...]:
        """Return the sides of layers that have channels of a group, the first layer that makes them before all."""
        touched = [
            Touched(
                layer=record.layer,
                name=record.name,
                role=role,
                places=places,
                channels=torch.tensor([numbering[channel] for channel in channels.tolist()]),
            )
            for record, role, places, channels in self._touching.get(number, [])
        ]
        root = self.makers[number][0].layer if number in self.makers else None
        return tuple(sorted(touched, key=lambda one: one.layer is not root or one.role != "makes"))
