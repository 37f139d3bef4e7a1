"""Blocks that merge tokens are the same blocks, run otherwise; what a file says of it is right, or refused."""

import copy
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models import VisionTransformer

from effbench.codec import decode, encode
from effbench.codec.edits import write_edits
from effbench.compression.structure.edits import Edit, EditKind, edits_of, merge_blocks, remove_module
from effbench.compression.structure.merged_blocks import MergedBlocks, Merging, merging_off
from effbench.compression.structure.rebuild import apply_edits
from effbench.compression.structure.token_merging import MILLION
from effbench.compression.structure.watch import fast_paths_off

HALVES = {"attention": ("ln_1", "self_attention", "dropout"), "perceptron": ("ln_2", "mlp")}
CHILDREN = ("ln_1", "self_attention", "dropout", "ln_2", "mlp")


def merging(share=500_000, **changes):
    return Merging(**{"share": share, "n_special": 1, "proportional": True, **HALVES, **changes})


def network(n_layers=3, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VisionTransformer(16, 4, n_layers, 2, 8, 16, num_classes=4)
        nn.init.normal_(model.heads.head.weight)
        return model.eval()


def merged(share=500_000, **changes):
    model = network()
    merge_blocks(model.encoder.layers, merging(share, **changes))
    return model


IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("training", [False, True])
def test_merging_no_tokens_is_the_identity_to_the_bit(training):
    whole, same = network().train(training), merged(MILLION).train(training)
    with fast_paths_off():
        expected = whole(IMAGES)
    assert torch.equal(same(IMAGES), expected)
    assert not torch.equal(merged()(IMAGES), expected)


def test_every_block_sees_as_many_tokens_as_the_schedule_says():
    model, seen = merged(), []
    for block in model.encoder.layers._modules.values():
        block.ln_1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
        block.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    model(IMAGES)
    assert seen == [17, 13, 13, 9, 9, 9]


def test_duplicated_tokens_merge_without_a_trace_if_attention_knows_their_sizes():
    """Ten of sixteen patches are one: five of them merge with the others, and the special token is none the wiser."""
    blocks = network(2).encoder.layers
    with torch.no_grad():
        tokens = 3 * torch.randn(2, 17, 8, generator=torch.Generator().manual_seed(0))
        tokens[:, 1:11] = tokens[:, 1:2]
        expected, outcomes = blocks(tokens)[:, 0], {}
        for proportional in (True, False):
            double = copy.deepcopy(blocks)
            merge_blocks(double, merging(687_500, proportional=proportional))
            outcomes[proportional] = double(tokens)
    assert outcomes[True].shape == (2, 12, 8)
    torch.testing.assert_close(outcomes[True][:, 0], expected, atol=1e-5, rtol=1e-5)
    assert (outcomes[False][:, 0] - expected).abs().max() > 1e-2


def test_names_state_and_modes_stay_and_copies_merge_too():
    model = merged()
    assert list(model.state_dict()) == list(network().state_dict())
    assert torch.equal(copy.deepcopy(model)(IMAGES), model(IMAGES))
    with merging_off(model):
        assert torch.equal(model(IMAGES), network()(IMAGES))
        assert edits_of(model) == edits_of(merged())
    assert not torch.equal(model(IMAGES), network()(IMAGES))


@given(st.permutations(range(5)), st.integers(1, 4), st.integers(1, MILLION), st.integers(0, 9), st.booleans())
def test_numbers_say_it_all(order, n_first, share, n_special, proportional):
    names = [CHILDREN[number] for number in order]
    one = Merging(
        share=share,
        n_special=n_special,
        proportional=proportional,
        attention=tuple(names[:n_first]),
        perceptron=(*names[n_first:], "dropout"),
    )
    widths = one.widths(CHILDREN)
    assert len(widths) == Merging.n_widths(CHILDREN)
    assert Merging.from_widths(widths, CHILDREN) == one


def test_a_list_is_called_as_one_and_is_a_list_when_nothing_merges():
    blocks = nn.ModuleList(network().encoder.layers)
    tokens = torch.randn(2, 17, 8)
    merge_blocks(blocks, merging())
    (alone,) = blocks
    assert alone(tokens, None, flag=False).shape == (2, 9, 8)
    with merging_off(blocks):
        assert [type(block).__name__ for block in blocks] == ["EncoderBlock"] * 3
    assert len(blocks) == 3


@pytest.mark.extended
def test_file_and_store_rebuild_it_and_blocks_may_go_before_or_after():
    for removed in ((), ("encoder.layers.encoder_layer_0",), ("encoder.layers.encoder_layer_2",)):
        first, last = network(), merged()
        for path in removed:
            remove_module(first, path)
            remove_module(last, path)
        merge_blocks(first.encoder.layers, merging())
        assert edits_of(first) == edits_of(last)
        for model in (first, last):
            again = decode(encode(model), network(seed=1))
            assert torch.equal(again(IMAGES), model(IMAGES))
            fresh = network(seed=2)
            apply_edits(fresh, {path: Edit.from_plain(edit.to_plain()) for path, edit in edits_of(model).items()})
            fresh.load_state_dict(model.state_dict())
            assert torch.equal(fresh(IMAGES), model(IMAGES))
    again = decode(encode(merged()), merged(MILLION))  # which merges otherwise
    assert torch.equal(again(IMAGES), merged()(IMAGES))


WIDTHS = merging().widths(CHILDREN)


@pytest.mark.parametrize(
    "widths",
    [
        (0, *WIDTHS[1:]),
        (MILLION + 1, *WIDTHS[1:]),
        (WIDTHS[0], 1001, *WIDTHS[2:]),
        (*WIDTHS[:2], 2, *WIDTHS[3:]),
        (*WIDTHS[:3], 0, *WIDTHS[4:]),
        (*WIDTHS[:3], 5, *WIDTHS[4:]),
        (*WIDTHS[:4], 6, *WIDTHS[5:]),
        (*WIDTHS[:4], 0, *WIDTHS[5:]),
        (*WIDTHS[:-1], 1),
        (-1, *WIDTHS[1:]),
        WIDTHS[:-1],
        (),
    ],
)
def test_what_is_no_merging_is_refused(widths):
    model = network()
    with pytest.raises(ValueError, match=r"encoder\.layers"):
        apply_edits(model, {"encoder.layers": Edit(EditKind.MERGED, tuple(widths))})
    assert not any(isinstance(module, MergedBlocks) for module in model.modules())


@pytest.mark.parametrize("path", ["heads", "encoder", "conv_proj", "encoder.layers.encoder_layer_0.mlp"])
def test_what_is_no_sequence_of_blocks_is_refused(path):
    with pytest.raises(ValueError, match="no sequence of blocks"):
        apply_edits(network(), {path: Edit(EditKind.MERGED, WIDTHS)})


@pytest.mark.extended
def test_whatever_the_bytes_say_is_merged_or_refused():
    model, rng = merged(), np.random.default_rng(0)
    blob, template = encode(model), network(seed=1)
    section = write_edits(model)
    start, outcomes = blob.index(section), set()
    for _ in range(60):
        changed = bytearray(section)
        for _ in range(rng.integers(1, 3)):
            changed[rng.integers(len(changed))] = rng.choice([0, 1, 5, 6, 7, 15, 127, 128, 255, rng.integers(256)])
        body = blob[:start] + bytes(changed) + blob[start + len(section) : -4]
        try:
            decode(body + zlib.crc32(body).to_bytes(4, "little"), template)
            outcomes.add("merged")
        except ValueError as error:
            assert "\n" not in str(error)
            outcomes.add(str(error))
    assert "merged" in outcomes
    assert len(outcomes) > 5
