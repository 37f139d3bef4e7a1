import copy

import pytest
import torch
from torch import nn

from effbench.compression.structure.edits import Edit, EditKind, edits_of
from effbench.compression.structure.rebuild import apply_edits


def test_the_same_edits_give_the_same_structure_and_the_later_ones_change_nothing(edited, edits, network, shapes):
    fresh = network(1)
    state = torch.get_rng_state()
    apply_edits(fresh, edits)
    assert torch.equal(torch.get_rng_state(), state)
    assert shapes(fresh) == shapes(edited)
    assert [repr(one) for one in fresh.modules()] == [repr(one) for one in edited.modules()]
    kept = {name: tensor.data_ptr() for name, tensor in fresh.state_dict().items() if name.startswith("2.1")}
    apply_edits(fresh, edits)
    assert {name: tensor.data_ptr() for name, tensor in fresh.state_dict().items() if name in kept} == kept


WRONG = {
    "no such module": ("9", Edit(EditKind.REMOVED)),
    "can't be replaced as a whole": ("", Edit(EditKind.REMOVED)),
    "can't be resized": ("6", Edit(EditKind.RESIZED, (1,))),
    r"can't be resized to \(2, 4\)": ("0", Edit(EditKind.RESIZED, (2, 4))),
    r"can't be resized to \(2, 0, 1\)": ("0", Edit(EditKind.RESIZED, (2, 0, 1))),
    "edits only remove": ("0", Edit(EditKind.RESIZED, (2, 2**40, 1))),
    "weight of shape .* can't become": ("3", Edit(EditKind.RESIZED, (12, 12, 1))),  # ungrouped, it would be larger
    r"can't become \(0,": ("3", Edit(EditKind.RESIZED, (4, 4, 3))),
    "bias of shape": ("4", Edit(EditKind.RESIZED, (12, 12, 2))),
    "do not fit": ("3", Edit(EditKind.TUCKER, (12, 1, 1, 12))),
    "do not fit a Conv2d": ("2.1", Edit(EditKind.SPATIAL, (8, 1, 12))),
    r"svd factors of widths \(8, 12\)": ("2.1", Edit(EditKind.SVD, (8, 12))),
    "larger than the layer": ("2.1", Edit(EditKind.SVD, (8, 5, 12))),
    "are larger": ("7", Edit(EditKind.SVD, (150, 2**40, 10))),
    "a ConvTranspose2d can't be rewritten": ("4", Edit(EditKind.REWRITTEN, (12, 6, 0, 0, 0))),
    "3: a Conv2d can't be rewritten": ("3", Edit(EditKind.REWRITTEN, (12, 12, 0, 0, 0))),
    r"can't be rewritten with widths \(2,\)": ("0", Edit(EditKind.REWRITTEN, (2,))),
    r"widths \(2, 8, 3, 0, 0\) do not fit": ("0", Edit(EditKind.REWRITTEN, (2, 8, 3, 0, 0))),
    r"widths \(2, 8, 1, 0, 0\) do not fit": ("0", Edit(EditKind.REWRITTEN, (2, 8, 1, 0, 0))),
    r"widths \(2, 8, 2, 1, 1\) do not fit": ("0", Edit(EditKind.REWRITTEN, (2, 8, 2, 1, 1))),
    r"widths \(2, 8, 0, 1, 0\) do not fit": ("0", Edit(EditKind.REWRITTEN, (2, 8, 0, 1, 0))),
    r"widths \(2, 8, 0, 1, 2147483647\) do not fit": ("0", Edit(EditKind.REWRITTEN, (2, 8, 0, 1, 2**31 - 1))),
    r"widths \(0, 8, 0, 0, 0\) do not fit": ("0", Edit(EditKind.REWRITTEN, (0, 8, 0, 0, 0))),
    r"widths \(2, 2147483648, 0, 0, 0\) is larger": ("0", Edit(EditKind.REWRITTEN, (2, 2**31, 0, 0, 0))),
    r"widths \(4, 4, 2, 0, 0\) is larger": ("0", Edit(EditKind.REWRITTEN, (4, 4, 2, 0, 0))),
    "factors of widths .* are larger": ("0", Edit(EditKind.SPATIAL, (2, 2**31, 8))),
}


@pytest.mark.parametrize("message", WRONG)
def test_an_edit_that_does_not_fit_is_refused_before_anything_is_made(message, network):
    path, edit = WRONG[message]
    with pytest.raises(ValueError, match=message):
        apply_edits(network(), {path: edit})


@pytest.mark.parametrize("widths", [(), (0,), (5,), (2, 2), (2**31 - 1,)])
def test_attention_keeps_some_of_the_heads_that_it_has(widths):
    model = nn.Sequential(nn.MultiheadAttention(8, 4), nn.Linear(8, 2))
    with pytest.raises(ValueError, match=r"0: a MultiheadAttention with 4 can't be left with .* heads"):
        apply_edits(model, {"0": Edit(EditKind.HEADS, widths)})
    with pytest.raises(ValueError, match="1: a Linear with none that are known can't be left"):
        apply_edits(model, {"1": Edit(EditKind.HEADS, (1,))})


def test_a_chain_within_attention_is_no_larger_than_the_layer_was_before_heads_went():
    model = nn.Sequential(nn.MultiheadAttention(8, 4))
    edits = {"0": Edit(EditKind.HEADS, (1,)), "0.out_proj": Edit(EditKind.SVD, (2, 6, 8))}
    apply_edits(model, edits)  # 60 weights, of 16 that are left, of 64 that there were
    with pytest.raises(ValueError, match="are larger than the layer"):
        apply_edits(nn.Sequential(nn.MultiheadAttention(8, 4)), {**edits, "0.out_proj": Edit(EditKind.SVD, (2, 7, 8))})


def test_a_bias_is_added_where_there_is_none_and_with_other_sizes(network):
    model = network()
    edit = Edit(EditKind.BIASED, (6, 9, 1))
    apply_edits(model, {"2.1": edit})
    assert model[2][1].bias.shape == (9,)
    assert not model[2][1].bias.any()
    assert edits_of(copy.deepcopy(model)) == {"2.1": edit}
    apply_edits(model, {"2.1": edit})  # it is there already
    apply_edits(model, {"2.1": Edit(EditKind.BIASED, (6, 5, 1))})
    assert model[2][1].bias.shape == (5,)


@pytest.mark.parametrize(
    ("path", "widths", "says"),
    [
        ("0", (2, 8, 1), "has a bias, or can't have one"),
        ("1", (8,), "has a bias, or can't have one"),
        ("2.1", (8, 13, 1), "edits only remove"),
        ("2.1", (8,), "can't be resized"),
    ],
)
def test_a_bias_is_refused_where_one_is_or_can_not_be(path, widths, says, network):
    with pytest.raises(ValueError, match=says):
        apply_edits(network(), {path: Edit(EditKind.BIASED, widths)})
