"""Structural edits in a network's file: small, exact, and harmless whatever their bytes say."""

import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from effbench.codec import decode, encode
from effbench.codec.edits import write_edits
from effbench.codec.wire import varint
from effbench.compression.constraints.stack import bake
from effbench.compression.structure.edits import Edit, EditKind, edits_of
from effbench.compression.structure.rebuild import apply_edits
from effbench.stages.low_rank import LowRank
from effbench.stages.prune_channels import PruneChannels
from effbench.stages.quantize import Quantize

EDITS_START = 9  # magic, version, coder and flag, fingerprint


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shared = nn.ReLU()
        block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), shared)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            shared,
            block,
            nn.Conv2d(8, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            shared,
            nn.Conv2d(16, 16, 3, padding=1),
            nn.Flatten(),
            nn.Linear(16 * 16, 40),
            nn.Linear(40, 4, bias=False),
        )


def edited(seed=0):
    model = network(seed)
    edits = {
        "2": Edit(EditKind.REMOVED),
        "3": Edit(EditKind.RESIZED, (8, 5, 1)),
        "4": Edit(EditKind.RESIZED, (5,)),
        "6": Edit(EditKind.TUCKER, (5, 3, 2, 7)),
        "8": Edit(EditKind.SVD, (112, 6, 40)),
        "9": Edit(EditKind.BIASED, (40, 4)),
    }
    apply_edits(model, edits)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return model.eval()


@pytest.fixture(scope="module")
def blob():
    return encode(edited())


def sealed(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize("coder", ["none", "huffman"])
def test_a_fresh_network_becomes_the_edited_one_bit_by_bit(coder):
    model, images = edited(), torch.randn(3, 1, 4, 4)
    blob = encode(model, coder=coder)
    for template in (network(1), model, edited(2)):
        restored = decode(blob, template).eval()
        assert edits_of(restored) == edits_of(model)
        assert {n: t.tolist() for n, t in restored.state_dict().items()} == {
            n: t.tolist() for n, t in model.state_dict().items()
        }
        with torch.no_grad():
            assert torch.equal(restored(images), model(images))
    assert encode(decode(blob, network(1)), coder=coder) == blob


def test_layers_inside_a_rewritten_convolution_come_back_with_their_own_edits():
    rewritten = {
        "0": Edit(EditKind.REWRITTEN, (1, 8, 0, 10, 10)),
        "0.norm": Edit(EditKind.REMOVED),
        "2.0": Edit(EditKind.REWRITTEN, (8, 8, 2, 0, 0)),
        "3": Edit(EditKind.REWRITTEN, (8, 16, 0, 10_000, 100_000)),
        "3.depthwise": Edit(EditKind.BIASED, (6, 6, 6)),
        "3.norm": Edit(EditKind.RESIZED, (6,)),
        "3.pointwise": Edit(EditKind.SVD, (6, 2, 16)),
        "6": Edit(EditKind.RESIZED, (16, 16, 8)),
        "9": Edit(EditKind.BIASED, (40, 4)),
    }
    model = network()
    apply_edits(model, rewritten)
    assert edits_of(model) == rewritten
    for template in (network(1), model):
        restored = decode(encode(model), template)
        assert edits_of(restored) == rewritten
        assert [repr(one) for one in restored.modules()] == [repr(one) for one in model.modules()]


def test_the_template_is_left_alone(blob):
    template = network(1)
    state = {name: tensor.clone() for name, tensor in template.state_dict().items()}
    decode(blob, template)
    assert edits_of(template) == {}
    assert all(torch.equal(tensor, state[name]) for name, tensor in template.state_dict().items())


def test_a_network_without_edits_pays_nothing():
    assert write_edits(network()) == b""
    assert encode(network())[4] == 1
    assert encode(edited())[4] == 129


def test_a_head_has_room_for_every_kind():
    # The head of an edit is 8 x modules passed over + kind; from 7 on that is 7, and a number follows.
    assert write_edits(edited())[1] == 8 * 3 + EditKind.REMOVED, "the network itself, two layers, then the block"


def test_an_edit_takes_few_bytes():
    assert len(write_edits(edited())) == 1 + (1) + (1 + 3) + (1 + 1) + (1 + 4) + (1 + 3) + (1 + 2)


def test_the_file_of_another_structure_is_refused(blob):
    with pytest.raises(ValueError):
        decode(encode(network()), edited())
    with pytest.raises(ValueError):
        decode(blob, nn.Sequential(nn.Linear(3, 4)))


TEMPLATE = network(1)


def outcome(blob):
    """Decode; return the error's text or None. Anything but a ValueError of one line fails the test."""
    try:
        decode(blob, TEMPLATE)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return str(error)
    return None


def with_section(blob, section):
    n = len(write_edits(edited()))
    return sealed(blob[:EDITS_START] + section + blob[EDITS_START + n : -4])


HUGE = varint(2**31 - 1)
REWRITTEN = varint(EditKind.REWRITTEN - 7)
"""After a kind of 7, which stands for all that are larger."""
HOSTILE = {
    "at most": varint(2**40),
    "place of a structural edit": varint(1) + varint(8 * 10**6),
    "unknown kind": varint(1) + varint(8 * 1 + 7) + varint(99),
    "can't be merged": varint(1) + varint(8 * 1 + 7) + varint(EditKind.MERGED - 7),
    "can't be removed": varint(1) + varint(EditKind.REMOVED),
    "can't be resized": varint(1) + varint(8 * 2 + EditKind.RESIZED),
    "can't be spatial": varint(1) + varint(8 * 12 + EditKind.SPATIAL),
    "can't be biased": varint(1) + varint(8 * 1 + EditKind.BIASED),
    "only remove": varint(1) + varint(8 * 1 + EditKind.RESIZED) + HUGE * 3,
    "can't be rewritten": varint(1) + varint(8 * 12 + 7) + REWRITTEN,
    "is larger": varint(1) + varint(8 * 1 + 7) + REWRITTEN + varint(1) + HUGE + varint(0) * 3,
    "do not fit": varint(1)
    + varint(8 * 1 + 7)
    + varint(EditKind.REWRITTEN - 7)
    + varint(1)
    + varint(8)
    + varint(0)
    + HUGE * 2,
    "is behind the last": varint(1) + varint(8 * 30 + EditKind.RESIZED),
    "are larger": varint(1) + varint(8 * 1 + EditKind.TUCKER) + HUGE * 4,
    "a width": varint(1) + varint(8 * 1 + EditKind.TUCKER) + varint(2**63) * 4,
    "has no end": b"\xff" * 30,
}


ATTENTION = {
    "can't be left with (0,) heads": varint(1) + varint(8 * 1 + EditKind.HEADS) + varint(0),
    "can't be left with (3,) heads": varint(1) + varint(8 * 1 + EditKind.HEADS) + varint(3),
    "can't be left with (2147483647,) heads": varint(1) + varint(8 * 1 + EditKind.HEADS) + HUGE,
    "can't be heads": varint(1) + varint(8 * 2 + EditKind.HEADS) + varint(1),
    "only remove": varint(2) + varint(8 * 1 + EditKind.HEADS) + varint(1) + varint(EditKind.RESIZED) + varint(8) * 2,
}


@pytest.mark.parametrize("message", ATTENTION)
def test_hostile_sections_of_attention_are_refused(message):
    template = nn.Sequential(nn.MultiheadAttention(8, 2), nn.Linear(8, 4))
    small = encode(template)
    cut = nn.Sequential(nn.MultiheadAttention(8, 2), nn.Linear(8, 4))
    apply_edits(cut, {"0": Edit(EditKind.HEADS, (1,))})
    right = encode(cut)
    n = len(write_edits(cut))
    assert len(right) < len(small)
    with pytest.raises(ValueError) as caught:
        decode(sealed(right[:EDITS_START] + ATTENTION[message] + right[EDITS_START + n : -4]), template)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("message", HOSTILE)
def test_hostile_sections_are_refused(blob, message):
    tracemalloc.start()
    found = outcome(with_section(blob, HOSTILE[message]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found is not None and message in found, found
    assert peak < 2e6


def test_a_right_section_is_read_by_the_same_means(blob):
    assert outcome(with_section(blob, write_edits(edited()))) is None


@pytest.mark.extended
def test_changed_bytes_never_crash(blob):
    rng = np.random.default_rng(0)
    n = len(write_edits(edited()))
    errors = set()
    for case in range(300):
        section = bytearray(blob[EDITS_START : EDITS_START + n])
        if case % 3 == 0:
            section = bytearray(rng.integers(0, rng.choice([4, 32, 256]), rng.integers(0, 40)).astype(np.uint8))
        else:
            for _ in range(rng.integers(1, 3)):
                section[rng.integers(len(section))] = rng.choice([0, 1, 2, 8, 16, 127, 128, 255, rng.integers(256)])
        errors.add(outcome(with_section(blob, bytes(section))))
    assert len(errors) > 10


def test_every_truncation_within_the_section_is_refused(blob):
    for n_bytes in range(4, EDITS_START + len(write_edits(edited()))):
        assert outcome(sealed(blob[:n_bytes])) is not None


@pytest.mark.extended
def test_a_compiled_network_has_the_file_of_what_was_compiled(toy_data, make_context, toy_network):
    context = make_context(toy_data)
    for stages in ([LowRank(rank=0.3)], [PruneChannels(ratio=0.5), Quantize(bits=3)]):
        model = toy_network()
        for stage in stages:
            model = stage.apply(model, context)
        compiled = torch.compile(model, backend="eager")
        assert encode(compiled) == encode(model)
        made = torch.compile(toy_network(), backend="eager")
        for stage in stages:
            made = stage.apply(made, context)
        restored = decode(encode(made), torch.compile(toy_network(seed=1), backend="eager"))
        assert encode(restored) == encode(bake(model))
