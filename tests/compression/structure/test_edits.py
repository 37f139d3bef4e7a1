import copy
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.compression.structure.edits import Edit, EditKind, edits_of, record_changes, remove_module, replace_module
from effbench.compression.structure.factorized import Factored, build_factored, can_factor, factor_shapes, n_ranks
from effbench.compression.structure.rebuild import apply_edits


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1, stride=2),
            nn.BatchNorm2d(8),
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 12, 1, bias=False)),
            nn.Conv2d(12, 12, 3, padding=1, groups=3),
            nn.ConvTranspose2d(12, 6, 2),
            nn.PReLU(6),
            nn.Flatten(),
            nn.Linear(6 * 25, 10),
        )


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


EDITS = {
    "0": Edit(EditKind.RESIZED, (2, 4, 1)),
    "1": Edit(EditKind.RESIZED, (4,)),
    "2.0": Edit(EditKind.RESIZED, (4, 4, 4)),
    "2.1": Edit(EditKind.SVD, (4, 2, 9)),
    "3": Edit(EditKind.RESIZED, (9, 9, 3)),
    "4": Edit(EditKind.RESIZED, (9, 5, 1)),
    "5": Edit(EditKind.RESIZED, (5,)),
    "7": Edit(EditKind.SVD, (125, 3, 10)),
}


@pytest.fixture
def edited():
    model = network()
    apply_edits(model, EDITS)
    return model


def test_an_edited_network_runs_and_knows_its_edits_through_copies_and_json(edited):
    assert edited.eval()(torch.zeros(1, 2, 8, 8)).shape == (1, 10)
    assert edits_of(edited) == EDITS
    assert edits_of(copy.deepcopy(edited)) == EDITS
    plain = json.loads(json.dumps({path: edit.to_plain() for path, edit in edits_of(edited).items()}))
    assert {path: Edit.from_plain(one) for path, one in plain.items()} == EDITS
    assert edits_of(network()) == {}


def test_the_same_edits_give_the_same_structure_and_the_later_ones_change_nothing(edited):
    fresh = network(1)
    state = torch.get_rng_state()
    apply_edits(fresh, EDITS)
    assert torch.equal(torch.get_rng_state(), state)
    assert shapes(fresh) == shapes(edited)
    assert [repr(one) for one in fresh.modules()] == [repr(one) for one in edited.modules()]
    kept = {name: tensor.data_ptr() for name, tensor in fresh.state_dict().items() if name.startswith("2.1")}
    apply_edits(fresh, EDITS)
    assert {name: tensor.data_ptr() for name, tensor in fresh.state_dict().items() if name in kept} == kept


def test_what_is_edited_further_is_told_in_its_final_state(edited):
    apply_edits(edited, {"3": Edit(EditKind.RESIZED, (3, 3, 3))})
    remove_module(edited, "2")
    assert edits_of(edited) == {
        **{path: edit for path, edit in EDITS.items() if not path.startswith("2") and path != "3"},
        "2": Edit(EditKind.REMOVED),
        "3": Edit(EditKind.RESIZED, (3, 3, 3)),
    }


def test_a_shared_module_is_replaced_at_each_of_its_places():
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    replace_module(model, "0", build_factored(layer, "svd", (6, 1, 6)))
    assert model[0] is model[2]
    fresh = nn.Sequential(other := nn.Linear(6, 6), nn.ReLU(), other)
    apply_edits(fresh, edits_of(model))
    assert fresh[0] is fresh[2]
    assert shapes(fresh) == shapes(model)


def test_changes_are_found_by_comparing():
    before, after = network(), network()
    after[0] = nn.Conv2d(2, 5, 3, padding=1, stride=2)
    after[1] = nn.BatchNorm2d(5)
    record_changes(before, after)
    assert edits_of(after) == {"0": Edit(EditKind.RESIZED, (2, 5, 1)), "1": Edit(EditKind.RESIZED, (5,))}
    after, before = nn.Sequential(nn.LSTM(3, 4)), nn.Sequential(nn.LSTM(3, 5))
    with pytest.raises(ValueError, match="its 0 is a LSTM, which can't be rebuilt"):
        record_changes(before, after)


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
    "factors of widths .* are larger": ("0", Edit(EditKind.SPATIAL, (2, 2**31, 8))),
}


@pytest.mark.parametrize("message", WRONG)
def test_an_edit_that_does_not_fit_is_refused_before_anything_is_made(message):
    path, edit = WRONG[message]
    with pytest.raises(ValueError, match=message):
        apply_edits(network(), {path: edit})


@pytest.mark.parametrize("plain", [[], [9], [-1, 2], ["1", 2], [1, 2.5], [True, 3]])
def test_what_is_no_edit_is_refused(plain):
    with pytest.raises(ValueError, match="is no structural edit"):
        Edit.from_plain(plain)


CONVOLUTIONS = st.fixed_dictionaries(
    {
        "kernel_size": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "stride": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "padding": st.one_of(st.tuples(st.integers(0, 1), st.integers(0, 1)), st.just("valid")),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "bias": st.booleans(),
    }
)


@given(
    options=CONVOLUTIONS,
    n_in=st.integers(1, 4),
    n_out=st.integers(1, 4),
    scheme=st.sampled_from(["svd", "spatial", "tucker"]),
)
def test_a_chain_gives_maps_of_the_size_that_the_layer_gave(options, n_in, n_out, scheme):
    layer = nn.Conv2d(n_in, n_out, **options)
    if not can_factor(layer, scheme):
        return
    widths = (n_in, *[2] * n_ranks(scheme), n_out)
    chain = build_factored(layer, scheme, widths)
    assert isinstance(chain, Factored)
    assert chain.widths == widths
    assert tuple(tuple(one.weight.shape) for one in chain) == factor_shapes(layer, scheme, widths)
    images = torch.zeros(1, n_in, 8, 9)
    assert chain(images).shape == layer(images).shape


def test_a_bias_is_added_where_there_is_none_and_with_other_sizes():
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
def test_a_bias_is_refused_where_one_is_or_can_not_be(path, widths, says):
    with pytest.raises(ValueError, match=says):
        apply_edits(network(), {path: Edit(EditKind.BIASED, widths)})
