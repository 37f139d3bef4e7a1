"""Channels named by numbers, their labels, and what is known of them: which are the same, go together, or must stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Labels:
    """Labels of channels, joined while a network's forward pass is followed.

    Two labels are the same channel where their elements meet (the terms of a sum, the halves of a gate): they go or
    stay as one, and count once. Channels that go together (those at one place of each group of a grouped convolution)
    count each. A channel stays where what it goes into can't be made smaller, for a reason, which all that go with it
    share. Label 0 is that of everything that is no channel of a layer: what meets it stays.
    """

    def __init__(self) -> None:
        self._same = [0]
        self._together = [0]
        self._reasons: dict[int, str] = {0: "they meet a tensor of fixed size"}

    def new(self, n: int, /) -> Tensor:
        """Return n new labels, (n,) int64."""
        first = len(self._same)
        self._same.extend(range(first, first + n))
        self._together.extend(range(first, first + n))
        return torch.arange(first, first + n)

    def join(self, one: Tensor, other: Tensor, reason: str, /) -> None:
        """Let labels, (n,) each, be the same channels, pair by pair; the reason is why those stay that meet label 0."""
        if not torch.equal(one, other):
            for a, b in zip(one.tolist(), other.tolist(), strict=True):
                if 0 in (a, b):
                    self._keep(max(a, b), reason)
                else:
                    union(self._same, a, b)
                    self._tie(a, b)

    def tie(self, sets: Tensor, /) -> None:
        """Let the labels of each row go together. sets: (n_sets, n_together)."""
        for first, *others in sets.tolist():
            for other in others:
                self._tie(first, other)

    def keep(self, labels: Tensor, reason: str, /) -> None:
        """Let channels stay, for a reason; the first one given counts."""
        for label in labels.tolist():
            self._keep(label, reason)

    def channels(self) -> Tensor:
        """Return the number of the channel that each label names, (n_labels,) int64."""
        return torch.tensor(roots_of(self._same))

    def sets(self) -> Tensor:
        """Return the number of the set of channels that go with each label's, (n_labels,) int64."""
        return torch.tensor(roots_of(self._together))

    def reason(self, labels: Tensor, /) -> str | None:
        """Return why one of these channels stays, the first that does; None where all can go."""
        roots = (_root(self._together, label) for label in labels.tolist())
        return next((self._reasons[root] for root in roots if root in self._reasons), None)

    def _keep(self, label: int, reason: str) -> None:
        self._reasons.setdefault(_root(self._together, label), reason)

    def _tie(self, a: int, b: int) -> None:
        a, b = _root(self._together, a), _root(self._together, b)
        if a == b:
            return
        if 0 in (a, b):
            self._keep(max(a, b), self._reasons[0])
            return
        reasons = [self._reasons.pop(root) for root in (a, b) if root in self._reasons]
        root = union(self._together, a, b)
        if reasons:
            self._reasons[root] = reasons[0]


def roots_of(parents: Sequence[int], /) -> list[int]:
    """Return the root of each node of some trees in which parents have smaller numbers."""
    roots: list[int] = []
    for node, parent in enumerate(parents):
        roots.append(node if parent == node else roots[parent])
    return roots


def _root(parents: list[int], label: int) -> int:
    while parents[label] != label:
        parents[label] = label = parents[parents[label]]
    return label


def union(parents: list[int], a: int, b: int) -> int:
    """Join two trees; return their root, the smaller number."""
    a, b = sorted((_root(parents, a), _root(parents, b)))
    parents[b] = a
    return a
