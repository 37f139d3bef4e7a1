import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from effbench.compression.structure.shuffle import Shuffle


@st.composite
def shuffles(draw):
    groups, before, after = (draw(st.integers(1, 6)) for _ in range(3))
    return Shuffle(
        n=math.lcm(groups, before, after) * draw(st.integers(1, 12)), groups=groups, before=before, after=after
    )


def importance_for(shuffle, seed):
    return torch.rand(shuffle.n, generator=torch.Generator().manual_seed(seed))


def counts(shuffle):
    return torch.bincount(shuffle.cells, minlength=shuffle.before * shuffle.after)


@given(shuffles())
def test_places_are_those_of_a_channel_shuffle(shuffle):
    shuffled = F.channel_shuffle(torch.arange(shuffle.n).reshape(1, -1, 1, 1), shuffle.groups).flatten()
    assert torch.equal(shuffled[shuffle.places], torch.arange(shuffle.n))


@given(shuffles(), st.integers(0, 9))
def test_whatever_goes_in_order_leaves_what_a_smaller_shuffle_deals_out(shuffle, seed):
    left = set(range(shuffle.n))
    for going in shuffle.removals(importance_for(shuffle, seed)):
        assert set(going.tolist()) <= left
        left -= set(going.tolist())
        smaller = dataclasses.replace(shuffle, n=len(left))
        assert smaller.n > 0 and smaller.n % shuffle.step == 0
        remaining = torch.bincount(shuffle.cells[sorted(left)], minlength=len(counts(shuffle)))
        assert torch.equal(remaining, counts(smaller))


@given(shuffles(), st.integers(0, 9))
def test_of_each_cell_the_least_important_go_first(shuffle, seed):
    importance = importance_for(shuffle, seed)
    order = torch.cat([torch.zeros(0, dtype=torch.int64), *shuffle.removals(importance)])
    for cell in range(shuffle.before * shuffle.after):
        gone = importance[order[shuffle.cells[order] == cell]]
        ranked = importance[shuffle.cells == cell].sort().values
        assert torch.equal(gone, ranked[: len(gone)])


def test_without_groups_any_channel_can_go():
    importance = torch.tensor([3.0, 1.0, 2.0])
    sets = Shuffle(n=3, groups=1).removals(importance)
    assert [going.tolist() for going in sets] == [[1], [2]]


def test_the_most_important_channels_stay_where_cells_are_even():
    # 2 groups each: cells (0, 0) = {0, 1}, (0, 1) = {2, 3}, (1, 0) = {4, 5}, (1, 1) = {6, 7}.
    shuffle = Shuffle(n=8, groups=2, before=2, after=2)
    assert shuffle.cells.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    sets = shuffle.removals(torch.tensor([1.0, 9, 9, 1, 1, 9, 9, 1]))
    assert [sorted(going.tolist()) for going in sets] == [[3, 4], [0, 7], [2, 5]]


def test_a_choice_that_no_shuffle_deals_out_is_refused():
    shuffle = Shuffle(n=8, groups=2, before=2, after=2)
    with pytest.raises(AssertionError, match="each cell keeps its number"):
        shuffle.keep(torch.tensor([0, 1, 2, 3]))
