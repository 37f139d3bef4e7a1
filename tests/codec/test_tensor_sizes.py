import pytest
import torch
from torch import nn

from effbench.codec import encode_each
from effbench.codec.tensor_sizes import entropy_bytes
from effbench.compression.constraints.quantizer import UniformQuantizer
from effbench.compression.constraints.stack import register


def test_the_records_are_the_file_but_for_its_frame():
    network = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 10))
    for file in encode_each(network, coders=("none", "context")):
        sizes = file.tensor_sizes()
        assert [size.name for size in sizes] == ["0.bias", "0.weight", "2.bias", "2.weight"]
        assert [size.n_values for size in sizes] == [30, 1200, 10, 300]
        assert 12 <= len(file.blob) - sum(size.n_bytes for size in sizes) <= 20
        assert all(size.entropy_bytes is None for size in sizes)


def test_what_a_coder_saves_is_seen_beside_the_entropy_of_its_codes():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Linear(256, 256)
        with torch.no_grad():  # rows of very different spread: their places say much of their values
            layer.weight.mul_(torch.logspace(-2, 0, 256).unsqueeze(1))
    register(layer, "weight", UniformQuantizer(6, granularity="tensor"))
    none, context = encode_each(layer, coders=("none", "context"))
    packed, coded = none.tensor_sizes()[1], context.tensor_sizes()[1]
    assert packed.entropy_bytes == coded.entropy_bytes
    assert coded.n_bytes < 0.9 * coded.entropy_bytes < packed.n_bytes


@pytest.mark.parametrize(
    ("values", "expected"), [([], 0), ([7] * 9, 0), ([0, 1] * 8, 2), ([0, 1, 2, 3] * 4, 4), ([-5, -5, 5, 5], 0.5)]
)
def test_the_entropy_of_integers(values, expected):
    assert entropy_bytes(torch.tensor(values, dtype=torch.int64)) == pytest.approx(expected)
