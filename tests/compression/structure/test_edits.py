import copy
import json
from typing import get_args

import pytest
import torch
from torch import nn

from effbench.compression.structure.edits import (
    Edit,
    EditKind,
    edits_of,
    n_widths,
    places,
    record_changes,
    remove_module,
    replace_module,
)
from effbench.compression.structure.factorized import Factorization, build_factored, n_ranks
from effbench.compression.structure.rebuild import apply_edits


def test_an_edited_network_runs_and_knows_its_edits_through_copies_and_json(edited, edits, network):
    assert edited.eval()(torch.zeros(1, 2, 8, 8)).shape == (1, 10)
    assert edits_of(edited) == edits
    assert edits_of(copy.deepcopy(edited)) == edits
    plain = json.loads(json.dumps({path: edit.to_plain() for path, edit in edits_of(edited).items()}))
    assert {path: Edit.from_plain(one) for path, one in plain.items()} == edits
    assert edits_of(network()) == {}


def test_what_is_edited_further_is_told_in_its_final_state(edited, edits):
    apply_edits(edited, {"3": Edit(EditKind.RESIZED, (3, 3, 3))})
    remove_module(edited, "2")
    assert edits_of(edited) == {
        **{path: edit for path, edit in edits.items() if not path.startswith("2") and path != "3"},
        "2": Edit(EditKind.REMOVED),
        "3": Edit(EditKind.RESIZED, (3, 3, 3)),
    }


def test_a_shared_module_is_replaced_at_each_of_its_places(shapes):
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    replace_module(model, "0", build_factored(layer, "svd", (6, 1, 6)))
    assert model[0] is model[2]
    fresh = nn.Sequential(other := nn.Linear(6, 6), nn.ReLU(), other)
    apply_edits(fresh, edits_of(model))
    assert fresh[0] is fresh[2]
    assert shapes(fresh) == shapes(model)


def test_changes_are_found_by_comparing(network):
    before, after = network(), network()
    after[0] = nn.Conv2d(2, 5, 3, padding=1, stride=2)
    after[1] = nn.BatchNorm2d(5)
    record_changes(before, after)
    assert edits_of(after) == {"0": Edit(EditKind.RESIZED, (2, 5, 1)), "1": Edit(EditKind.RESIZED, (5,))}
    after, before = nn.Sequential(nn.LSTM(3, 4)), nn.Sequential(nn.LSTM(3, 5))
    with pytest.raises(ValueError, match="its 0 is a LSTM, which can't be rebuilt"):
        record_changes(before, after)


@pytest.mark.parametrize("plain", [[], [9], [-1, 2], ["1", 2], [1, 2.5], [True, 3]])
def test_what_is_no_edit_is_refused(plain):
    with pytest.raises(ValueError, match="is no structural edit"):
        Edit.from_plain(plain)


def test_the_numbers_of_kinds_stand_in_files():
    assert {kind.name: kind.value for kind in EditKind} == {
        "REMOVED": 0,
        "RESIZED": 1,
        "SVD": 2,
        "SPATIAL": 3,
        "TUCKER": 4,
        "BIASED": 5,
        "HEADS": 6,
        "REWRITTEN": 7,
        "MERGED": 8,
    }
    chains = {kind: Edit(kind).factorization for kind in (EditKind.SVD, EditKind.SPATIAL, EditKind.TUCKER)}
    assert chains == {EditKind.SVD: "svd", EditKind.SPATIAL: "spatial", EditKind.TUCKER: "tucker"}
    assert set(chains.values()) == set(get_args(Factorization)), "each factorization has a kind"


@pytest.mark.parametrize("factorization", ["svd", "spatial", "tucker"])
def test_a_chain_is_told_by_its_kind(factorization):
    layer = nn.Conv2d(4, 6, 1 if factorization == "svd" else 3)
    widths = (4, *[2] * n_ranks(factorization), 6)
    model = nn.Sequential(layer)
    replace_module(model, "0", build_factored(layer, factorization, widths))
    (edit,) = edits_of(model).values()
    assert edit.kind.name.lower() == factorization
    assert edit.widths == widths
    assert n_widths(edit.kind, layer) == n_widths(edit.kind, model[0]) == len(widths)


KINDS = [kind for kind in EditKind if kind != EditKind.MERGED]
"""Of layers; for sequences of blocks see test_merged_blocks."""


def test_only_what_can_be_edited_so_has_widths():
    with_bias, without, grouped = nn.Conv2d(4, 6, 3), nn.Linear(4, 6, bias=False), nn.Conv2d(4, 6, 3, groups=2)
    assert [n_widths(kind, with_bias) for kind in KINDS] == [0, 3, None, 3, 4, None, None, 5]
    assert [n_widths(kind, without) for kind in KINDS] == [0, 2, 3, None, None, 2, None, None]
    assert [n_widths(kind, grouped) for kind in KINDS] == [0, 3, None, None, None, None, None, None]
    assert [n_widths(kind, nn.BatchNorm2d(4)) for kind in KINDS] == [0, 1, None, None, None, None, None, None]
    assert [n_widths(kind, nn.ReLU()) for kind in KINDS] == [0, None, None, None, None, None, None, None]
    assert n_widths(EditKind.HEADS, nn.MultiheadAttention(4, 2)) == 1


def test_an_edited_network_has_the_places_of_the_one_it_was_made_of(edited, edits, network):
    inside = tuple(f"{path}." for path in edits)
    assert [path for path, _ in places(edited)] == [p for p, _ in places(network()) if not p.startswith(inside)]


def test_what_is_inside_a_rewritten_convolution_has_places_and_edits_of_its_own(network):
    model = network()
    apply_edits(model, {"0": Edit(EditKind.REWRITTEN, (2, 8, 0, 0, 0))})
    assert [path for path, _ in places(model)][1:4] == ["0", "0.depthwise", "0.pointwise"]
    apply_edits(model, {"0.pointwise": Edit(EditKind.RESIZED, (2, 5, 1))})
    assert edits_of(model) == {
        "0": Edit(EditKind.REWRITTEN, (2, 8, 0, 0, 0)),
        "0.pointwise": Edit(EditKind.RESIZED, (2, 5, 1)),
    }


def test_places_go_on_with_what_replaces_a_module_meanwhile(network):
    model, seen = network(), []
    for path, _ in places(model):
        seen.append(path)
        if path == "0":
            apply_edits(model, {"0": Edit(EditKind.REWRITTEN, (2, 8, 0, 10, 10))})
        if path == "2":
            remove_module(model, "2")
    assert seen[:6] == ["", "0", "0.depthwise", "0.norm", "0.pointwise", "1"]
    assert not [path for path in seen if path.startswith("2.")]


def test_layers_inside_of_attention_with_fewer_heads_are_places_and_have_edits_of_their_own():
    model = nn.Sequential(nn.MultiheadAttention(4, 2), nn.ReLU())
    before = [path for path, _ in places(model)]
    edits = {"0": Edit(EditKind.HEADS, (1,)), "0.out_proj": Edit(EditKind.SVD, (2, 1, 4))}
    apply_edits(model, edits)
    assert [path for path, _ in places(model)] == before
    assert edits_of(copy.deepcopy(model)) == edits


def test_a_removed_module_passes_its_first_input_whatever_else_it_is_given():
    model = nn.Sequential(nn.ReLU(), nn.Linear(2, 2))
    remove_module(model, "0")
    images = torch.randn(2, 2)
    assert model[0](images, None, mask=images) is images


def test_the_whole_network_is_no_module_to_replace():
    with pytest.raises(ValueError, match="a single Linear can't be replaced as a whole"):
        remove_module(nn.Linear(2, 2), "")
