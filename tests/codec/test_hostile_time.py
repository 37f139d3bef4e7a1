"""Made-up files under a right checksum take no longer than whole ones: each has a limit that no compiled loop escapes.

A loop that numba has compiled can't be interrupted from within, so the files are decoded by a child: this file, run as
a script, whose watchdog thread ends the process.
"""

import faulthandler
import random
import subprocess
import sys
import zlib

import pytest
import torch
from torch import nn

from effbench.codec import decode, encode_each
from effbench.codec.wire import Reader, varint
from effbench.compression.constraints.codebook import Codebook, share_tensor
from effbench.compression.constraints.layer_inputs import InputGrid, set_input
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.structure.edits import Edit, EditKind
from effbench.compression.structure.rebuild import apply_edits

CODERS = ("none", "huffman", "ans", "context")
SECONDS_A_FILE = 5.0
N_FILES = 400
CONTEXT = 19


def plain_network():
    """A small network with tensors of most kinds, none of them given values worth coding."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(64, 12), nn.Linear(12, 12), nn.Linear(12, 12)
    )
    for name, dtype in (("flags", torch.bool), ("counts", torch.int64), ("halves", torch.float16)):
        network.register_buffer(name, torch.zeros(90, dtype=dtype))
    network.register_buffer("spectrum", torch.zeros(4, 5, dtype=torch.complex64))
    network.register_buffer("nothing", torch.zeros(3, 0))
    return network


def filled_network():
    """The same network under constraints and edits, with a grid on an input: its file has every section."""
    network = plain_network()
    apply_edits(network, {"0": Edit(EditKind.RESIZED, (2, 4, 1)), "1": Edit(EditKind.REMOVED)})
    nn.utils.parametrize.register_parametrization(network[3], "weight", UniformQuantizer(6, scheme="affine"))
    network[4].weight.data *= torch.rand(12, 12) < 0.2
    share_tensor(network[5], "weight", Codebook(torch.randint(-9, 8, (12, 12)).clamp(min=0), 7))
    set_input(network[4], InputGrid(bits=8, scale=0.1, zero_point=3))
    network.flags |= torch.rand(90) < 0.3
    network.counts += torch.randint(-(2**40), 2**40, (90,))
    return network


def sealed(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


def fields_of(blob, network, monkeypatch):
    """Return (start, stop, highest value or None) of what the reader takes from a whole file, after its version."""
    fields, read_varint, take = [], Reader.varint, Reader.take

    def watched_varint(self, what, /, *, at_most):
        start, n_fields = self.position, len(fields)
        value = read_varint(self, what, at_most=at_most)
        fields[n_fields:] = [(start, self.position, at_most)]
        return value

    def watched_take(self, n_bytes, /):
        fields.append((self.position, self.position + n_bytes, None))
        return take(self, n_bytes)

    monkeypatch.setattr(Reader, "varint", watched_varint)
    monkeypatch.setattr(Reader, "take", watched_take)
    decode(blob, network)
    monkeypatch.undo()
    return [field for field in fields if field[1] > field[0] >= 4]


def changed_field(body, field, rng):
    """Put 0, 1, the highest possible value or one more in the place of a field; or a stream of zeros, or noise."""
    start, stop, highest = field
    if highest is not None:
        new = varint(rng.choice([0, 1, max(highest, 0), max(highest, 0) + 1]))
    elif stop - start == 1 and rng.random() < 0.5:
        noise = rng.choice([bytes(60), b"\xff" * 60, rng.randbytes(60)])
        new = bytes([CONTEXT, rng.choice([0, 0, 1]), rng.choice([0, 0, 1, 255])]) + noise
    else:
        new = rng.choice([bytes(stop - start), b"\x01" * (stop - start), b"\xff" * (stop - start)])
    return body[:start] + new + body[stop:]


def made_up_files():
    """Yield seeded files: fields of whole ones changed, two whole ones spliced at fields."""
    rng, network = random.Random(0), plain_network()
    bodies = [file.blob[:-4] for file in encode_each(filled_network(), coders=CODERS)]
    fields = [fields_of(sealed(body), network, pytest.MonkeyPatch()) for body in bodies]
    for _ in range(N_FILES):
        one, other = rng.choices(range(len(bodies)), k=2)
        if rng.random() < 0.8:
            yield sealed(changed_field(bodies[one], rng.choice(fields[one]), rng))
        else:
            yield sealed(bodies[one][: rng.choice(fields[one])[0]] + bodies[other][rng.choice(fields[other])[0] :])


def decode_all():
    """Decode the files, saying which is next; the process ends where one takes too long."""
    network, n_refused = plain_network(), 0
    for number, blob in enumerate(made_up_files()):
        print(number, flush=True)
        faulthandler.dump_traceback_later(SECONDS_A_FILE, exit=True)
        try:
            decode(blob, network)
        except ValueError:
            n_refused += 1
        faulthandler.cancel_dump_traceback_later()
    assert n_refused > N_FILES // 2


def test_no_file_takes_longer_than_its_limit():
    child = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, f"file {child.stdout.split()[-1:]} of made_up_files: {child.stderr[-2000:]}"
    assert child.stdout.split()[-1] == str(N_FILES - 1)


if __name__ == "__main__":
    decode_all()
