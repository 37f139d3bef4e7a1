import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.compression.layers import weights_of
from effbench.compression.weight_groups import Groups, classifier_among, group_dims, together


@pytest.mark.parametrize(
    ("layer", "dims"),
    [
        (nn.Linear(4, 3), {"weight": (), "kernel": (), "row": (1,)}),
        (nn.Conv2d(4, 3, 3), {"weight": (), "kernel": (2, 3), "row": (1, 2, 3)}),
        (nn.Conv1d(4, 3, 3), {"weight": (), "kernel": (2,), "row": (1, 2)}),
        (nn.ConvTranspose2d(4, 3, 3), {"weight": (), "kernel": (2, 3), "row": (0, 2, 3)}),
    ],
)
def test_a_row_is_what_makes_one_output_and_a_kernel_joins_it_to_one_input(layer, dims):
    (weight,) = weights_of(layer)
    assert {shape: group_dims(weight, shape) for shape in dims} == dims
    n_outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    assert layer.weight.sum(dim=dims["row"]).shape == (n_outputs,)


sizes = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@given(sizes, st.integers(0, 99), st.floats(0, 1))
def test_the_best_groups_hold_as_nearly_so_many_weights_as_can_be(sizes, seed, share):
    scores = torch.rand(len(sizes), generator=torch.Generator().manual_seed(seed))
    groups = Groups(scores=scores, sizes=torch.tensor(sizes), n_weights=sum(sizes))
    wanted = round(share * sum(sizes))
    kept = groups.best(wanted)
    n_kept = int(kept.sum())
    assert torch.equal(kept, scores >= scores.sort(descending=True).values[n_kept - 1]) or n_kept == 0
    totals = torch.tensor([0, *sizes])[torch.cat([torch.zeros(1).long(), 1 + scores.argsort(descending=True)])].cumsum(
        0
    )
    assert (totals[n_kept] - wanted).abs() == (totals - wanted).abs().min()


def test_what_has_to_stay_stays_even_where_it_is_too_much():
    scores = torch.tensor([math.inf, 0.1, math.inf, 5.0])
    groups = Groups(scores=scores, sizes=torch.tensor([10, 1, 10, 1]), n_weights=22)
    assert groups.n_fixed == 20
    assert groups.best(3).tolist() == [True, False, True, False]
    assert groups.best(21).tolist() == [True, False, True, True]


def test_layers_are_ranked_together_and_get_their_own_marks():
    parts = [
        Groups(scores=torch.tensor([[1.0, 8.0]]), sizes=torch.tensor([[1, 1]]), n_weights=2),
        Groups(scores=torch.tensor([5.0, 2.0, 9.0]), sizes=torch.tensor([1, 1, 1]), n_weights=3),
    ]
    whole = together(parts)
    assert whole.n_weights == 5
    marks = whole.split(whole.best(3), parts)
    assert [mark.tolist() for mark in marks] == [[[False, True]], [True, False, True]]


def test_the_classifier_is_the_last_layer_with_an_output_per_class():
    layers = [nn.Conv2d(3, 10, 1), nn.Linear(4, 10), nn.Conv2d(10, 8, 1), nn.ReLU()]
    assert classifier_among(layers, 10) == 1
    assert classifier_among(layers, 8) == 2
    assert classifier_among(layers, 7) is None


@given(st.lists(st.sampled_from([-math.inf, 0.0, 1.0, 2.0, 3.0, math.inf]), min_size=1, max_size=12), st.floats(0, 1))
def test_single_weights_are_chosen_as_groups_of_one(scores, share):
    scores = torch.tensor(scores)
    single = Groups(scores=scores, n_weights=len(scores))
    ones = Groups(scores=scores, sizes=torch.ones(scores.shape, dtype=torch.int64), n_weights=len(scores))
    n_kept = round(share * len(scores))
    assert single.n_fixed == ones.n_fixed
    assert torch.equal(single.best(n_kept), ones.best(n_kept))
    assert torch.equal(together([single, single]).best(n_kept), together([ones, ones]).best(n_kept))
