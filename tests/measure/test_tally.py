"""Counting while a model runs: whose multiply-adds they are, and which count as effective."""

import torch
from torch import nn

from effbench.measure.derived import Weight, storage_key
from effbench.measure.meta import meta_double
from effbench.measure.tally import Tally


def tally_of(model, *size, weights=None):
    double = meta_double(model, {})
    with torch.no_grad(), Tally(double, {} if weights is None else weights(double)) as tally:
        double(torch.empty(1, *size, device="meta"))
    return tally


def test_an_operation_belongs_to_the_innermost_running_layer():
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    assert dict(tally_of(model, 3).macs) == {"0": 12, "1.1": 8}


def test_it_belongs_to_the_layer_of_its_weight_wherever_that_runs():
    class Borrows(nn.Module):
        def __init__(self):
            super().__init__()
            self.owner = nn.Linear(3, 4, bias=False)

        def forward(self, x):
            return nn.functional.linear(x, self.owner.weight)

    def weights(double):
        return {storage_key(double.owner.weight): Weight(numel=12, n_nonzero=3, layers=["owner"])}

    tally = tally_of(Borrows(), 3, weights=weights)
    assert dict(tally.macs) == {"owner": 12}
    assert dict(tally.macs_effective) == {"owner": 3}
    assert dict(tally_of(Borrows(), 3).macs) == {"": 12}


def test_products_without_a_weight_all_are_effective():
    class Product(nn.Module):
        def forward(self, x):
            return x @ x.transpose(-1, -2)

    tally = tally_of(Product(), 4, 3)
    assert dict(tally.macs) == dict(tally.macs_effective) == {"": 48}


def test_what_is_not_known_is_named_once():
    class Transforms(nn.Module):
        def forward(self, x):
            return torch.fft.rfft(torch.fft.rfft(x).real).real

    tally = tally_of(Transforms(), 8)
    assert tally.unknown == {"aten._fft_r2c"}
    assert not tally.macs
