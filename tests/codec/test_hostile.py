"""Bytes of any origin: one clear ValueError or a network, quickly, in memory of the network's own order."""

import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from effbench.codec import decode, encode
from effbench.codec.forms import TensorForm
from effbench.codec.tensor_record import RecordKind
from effbench.compression.constraints.codebook import Codebook, share_tensor
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.quantizer import UniformQuantizer

N_CASES = 400


def network():
    """Return a network whose file has most kinds of records and streams."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(40, 30),
        nn.BatchNorm1d(30),
        nn.Linear(30, 20),
        nn.Linear(20, 20),
        nn.Linear(20, 20),
        nn.Linear(20, 20),
        nn.Linear(20, 20),
        nn.Linear(20, 20),
    )
    parametrize.register_parametrization(model[0], "weight", UniformQuantizer(6))
    parametrize.register_parametrization(model[2], "weight", Mask(torch.rand(20, 30) < 0.1))
    parametrize.register_parametrization(model[3], "weight", Mask(torch.rand(20, 20) < 0.1))
    parametrize.register_parametrization(model[3], "weight", UniformQuantizer(10, scheme="affine"))
    model[4].weight.data = torch.randint(0, 2, (20, 20)).float()
    model[5].weight.data = model[4].weight.data.clone()
    share_tensor(model[6], "weight", Codebook(torch.randint(1, 8, (20, 20)), 7))
    share_tensor(model[7], "weight", Codebook(torch.randint(-30, 5, (20, 20)).clamp(min=0), 4))
    model.register_buffer("flags", torch.rand(300) < 0.3)
    return model


@pytest.fixture(scope="module")
def blobs():
    return [encode(network(), coder=coder) for coder in ("none", "huffman", "ans", "context")]


@pytest.fixture(scope="module")
def template():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(40, 30),
        nn.BatchNorm1d(30),
        nn.Linear(30, 20),
        nn.Linear(20, 20),
        nn.Linear(20, 20),
        nn.Linear(20, 20),
        nn.Linear(20, 20),
        nn.Linear(20, 20),
    )


@pytest.fixture(autouse=True)
def with_flags(template):
    template.register_buffer("flags", torch.zeros(300, dtype=torch.bool))


def sealed(body):
    """Give made-up bytes a checksum that is right."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def outcome(blob, template):
    """Decode; return the error's text or None. Anything but a ValueError of one line fails the test."""
    try:
        decoded = decode(blob, template)
    except ValueError as error:
        message = str(error)
        assert message
        assert "\n" not in message
        return message
    flags = decoded.state_dict()["flags"]
    assert int(flags.view(torch.uint8).max()) <= 1
    return None


def test_the_file_is_read_when_it_is_whole(blobs, template):
    assert [outcome(blob, template) for blob in blobs] == [None] * 4


@pytest.mark.extended
def test_every_truncation_is_refused(blobs, template):
    for blob in blobs:
        for n_bytes in [*range(0, 60), *range(60, len(blob), 97)]:
            assert outcome(blob[:n_bytes], template) is not None
            if n_bytes >= 4:
                assert outcome(sealed(blob[:n_bytes]), template) is not None


def test_every_flipped_bit_is_refused(blobs, template):
    rng = np.random.default_rng(0)
    for blob in blobs:
        for position in rng.integers(0, 8 * len(blob), N_CASES):
            damaged = bytearray(blob)
            damaged[position // 8] ^= 1 << (position % 8)
            assert outcome(bytes(damaged), template) is not None


@pytest.mark.extended
def test_changed_bytes_under_a_right_checksum_never_crash(blobs, template):
    rng = np.random.default_rng(1)
    interesting = [0, 1, 2, 7, 8, 9, 10, 127, 128, 254, 255]
    errors = set()
    for blob in blobs:
        for case in range(N_CASES):
            changed = bytearray(blob[:-4])
            for _ in range(rng.integers(1, 4)):
                # Half of the changes hit the head and the first records, where the structure is dense.
                position = rng.integers(5, 200 if case % 2 else len(changed))
                changed[position] = rng.choice(interesting) if rng.random() < 0.7 else rng.integers(0, 256)
            errors.add(outcome(sealed(bytes(changed)), template))
    assert len(errors) > 20


@pytest.mark.extended
def test_cut_and_doubled_bytes_under_a_right_checksum_never_crash(blobs, template):
    rng = np.random.default_rng(2)
    for blob in blobs:
        for _ in range(N_CASES // 4):
            start, stop = sorted(rng.integers(9, len(blob) - 4, 2))
            middle = blob[start:stop] * int(rng.choice([0, 2]))
            outcome(sealed(blob[:start] + middle + blob[stop:-4]), template)


@pytest.mark.extended
def test_made_up_records_never_crash(blobs, template):
    rng = np.random.default_rng(3)
    head = blobs[0][:10]
    for _ in range(N_CASES):
        kind = bytes([rng.integers(0, len(RecordKind) + 1)])
        form = TensorForm(torch.float32, (30, 40)).to_bytes() if rng.random() < 0.8 else b""
        noise = rng.integers(0, rng.choice([3, 12, 256]), rng.integers(0, 400)).astype(np.uint8).tobytes()
        assert outcome(sealed(head + kind + form + noise), template) is not None


def test_bytes_that_are_no_file_are_refused(template):
    rng = np.random.default_rng(4)
    for blob in (
        b"",
        b"e",
        b"eff",
        b"eff\x01",
        b"PK\x03\x04",
        b"\x80\x04\x95.",
        rng.bytes(1000),
        b"eff\x01" + rng.bytes(1000),
    ):
        assert outcome(blob, template) is not None


def test_unknown_versions_and_coders_are_refused(blobs, template):
    blob = blobs[0]
    with pytest.raises(ValueError, match="version 2"):
        decode(sealed(blob[:3] + bytes([2]) + blob[4:-4]), template)
    with pytest.raises(ValueError, match="coder 7"):
        decode(sealed(blob[:4] + bytes([7]) + blob[5:-4]), template)
    with pytest.raises(ValueError, match="left over"):
        decode(sealed(blob[:-4] + b"more"), template)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("coder", ["huffman", "ans", "context"])
def test_memory_is_of_the_order_of_the_network(coder):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1000, 500))
    parametrize.register_parametrization(model[0], "weight", UniformQuantizer(4))
    blob, plain = encode(model, coder=coder), nn.Sequential(nn.Linear(1000, 500))
    decode(blob, plain)
    tracemalloc.start()
    decode(blob, plain)
    whole = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    rng = np.random.default_rng(6)
    for _ in range(60):
        changed = bytearray(blob[:-4])
        changed[rng.integers(9, 60)] = rng.integers(0, 256)
        try:
            decode(sealed(bytes(changed)), plain)
        except ValueError:
            continue
    hostile = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    n_bytes = 4 * 1000 * 500
    assert whole < 8 * n_bytes
    assert hostile < 12 * n_bytes
