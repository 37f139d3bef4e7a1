"""Channels from one grouped convolution through a channel shuffle to the next: which can go, and how the others stand.

A shuffle of g groups puts channel i · n/g + j at place j · g + i (Zhang et al. 2017, arXiv:1707.01083, section 3.2).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Shuffle:
    """A shuffle of n channels between convolutions of so many groups; each number of groups divides n.

    A channel comes from a group of the convolution before and goes to a group of the one after: its cell. With fewer
    channels, too, the shuffle deals them out in its one way, so the number that each cell has is given by how many
    there are; which of a cell's channels these are is free.
    """

    n: int
    groups: int
    before: int = 1
    """Groups of the convolution whose outputs are shuffled."""
    after: int = 1
    """Groups of the convolution that reads them."""

    @property
    def step(self) -> int:
        """The number of channels is always a multiple of this."""
        return math.lcm(self.groups, self.before, self.after)

    @property
    def places(self) -> Tensor:
        """(n,) where each channel stands after the shuffle."""
        return torch.arange(self.n).reshape(-1, self.groups).T.flatten()

    @property
    def cells(self) -> Tensor:
        """(n,) the number of each channel's cell, 0 … before × after - 1."""
        source = torch.arange(self.n) // (self.n // self.before)
        return source * self.after + self.places // (self.n // self.after)

    def removals(self, importance: Tensor, /) -> list[Tensor]:
        """Return sets of channels in the order in which they can go: each after all those before it.

        importance: (n,); of each cell the least important go first. Sets are as small as the cells allow: a number of
        channels is passed over where some cell would have more of them than it has left. Some always stay.
        """
        ranked = [self._ranked(cell, importance) for cell in range(self.before * self.after)]
        left = torch.tensor([len(channels) for channels in ranked])
        sets = []
        for n in range(self.n - self.step, 0, -self.step):
            wanted = torch.bincount(dataclasses.replace(self, n=n).cells, minlength=len(ranked))
            if (wanted <= left).all():
                going = (left - wanted).tolist()
                sets.append(torch.cat([channels[:k] for channels, k in zip(ranked, going, strict=True)]))
                ranked = [channels[k:] for channels, k in zip(ranked, going, strict=True)]
                left = wanted
        return sets

    def keep(self, kept: Tensor, /) -> tuple[Tensor, Tensor]:
        """Return how the kept channels (numbers, any order) must stand: before the shuffle, and after it.

        The first names channels as they are numbered before the shuffle, the second as they are after it, both for the
        places of the smaller network. AssertionError where cells do not have what a shuffle of so many deals out.
        """
        smaller = dataclasses.replace(self, n=len(kept))
        kept = kept.sort().values
        slots, channels = smaller.cells.argsort(stable=True), kept[self.cells[kept].argsort(stable=True)]
        assert torch.equal(smaller.cells[slots], self.cells[channels]), "each cell keeps its number"
        before, after = torch.empty_like(kept), torch.empty_like(kept)
        before[slots] = channels
        after[smaller.places] = self.places[before]
        return before, after

    def _ranked(self, cell: int, importance: Tensor) -> Tensor:
        """Return the channels of a cell, the least important first."""
        members = torch.nonzero(self.cells == cell).flatten()
        return members[importance[members].argsort(stable=True)]
