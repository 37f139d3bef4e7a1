import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.compression.structure.decomposition import decompose
from effbench.compression.structure.factorized import build_factored


def random_weight(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def composed(layer, factorization, ranks):
    """The chain of the layer's truncated decomposition."""
    weight = layer.weight
    factors = decompose(weight, factorization).factors(ranks)
    chain = build_factored(layer, factorization, (weight.shape[1], *ranks, weight.shape[0]))
    with torch.no_grad():
        for part, factor in zip(chain, factors, strict=True):
            part.weight.copy_(factor)
        if layer.bias is not None:
            chain[-1].bias.copy_(layer.bias)
    return chain


LAYERS = {
    "svd": [lambda: nn.Linear(7, 5), lambda: nn.Linear(5, 9), lambda: nn.Conv2d(4, 6, 1)],
    "spatial": [lambda: nn.Conv2d(4, 6, 3, padding=1), lambda: nn.Conv2d(3, 2, (5, 3), stride=2)],
    "tucker": [lambda: nn.Conv2d(4, 6, 3, padding=1), lambda: nn.Conv2d(1, 6, 3), lambda: nn.Conv1d(4, 6, 3)],
}


@pytest.mark.parametrize(
    ("factorization", "build"), [(name, build) for name, builds in LAYERS.items() for build in builds]
)
def test_at_full_rank_it_is_the_layer(factorization, build):
    torch.manual_seed(0)
    layer = build()
    ranks = decompose(layer.weight, factorization).full_ranks
    n_in = layer.weight.shape[1]
    images = torch.randn(2, n_in, *(9,) * (layer.weight.ndim - 2))
    with torch.no_grad():
        assert torch.allclose(composed(layer, factorization, ranks)(images), layer(images), atol=1e-5)


@given(st.integers(2, 8), st.integers(2, 8), st.integers(1, 8), st.integers(0, 99))
def test_of_that_rank_no_product_is_closer(n_out, n_in, rank, seed):
    weight = random_weight(n_out, n_in, seed=seed)
    decomposition = decompose(weight, "svd")
    rank = min(rank, *decomposition.full_ranks)
    first, second = decomposition.factors((rank,))
    error = (second @ first - weight).double().square().sum()
    # Eckart & Young: what is cut off is what is missing.
    assert torch.allclose(error, torch.linalg.svdvals(weight.double())[rank:].square().sum(), atol=1e-4, rtol=1e-4)


def test_energies_are_squared_singular_values_and_bases_orthonormal():
    weight = random_weight(6, 4)
    decomposition = decompose(weight, "svd")
    assert torch.allclose(decomposition.energies[0], torch.linalg.svdvals(weight.double()).square())
    (basis,) = decomposition.bases
    assert torch.allclose(basis.T @ basis, torch.eye(4, dtype=torch.float64), atol=1e-12)


def test_a_share_of_the_energy_needs_the_smallest_rank_that_has_it():
    weight = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.0]))  # energies 9, 4, 1, 0
    decomposition = decompose(weight, "svd")
    assert [decomposition.ranks_of_energy(share) for share in (0.1, 9 / 14, 0.7, 13 / 14, 0.95, 1.0)] == [
        (1,),
        (1,),
        (2,),
        (2,),
        (3,),
        (3,),
    ]
    assert decompose(torch.zeros(3, 3), "svd").ranks_of_energy(0.5) == (1,)


def test_tucker_has_a_rank_for_inputs_and_one_for_outputs():
    decomposition = decompose(random_weight(6, 4, 3, 3), "tucker")
    assert decomposition.full_ranks == (4, 6)
    inputs, core, outputs = decomposition.factors((2, 3))
    assert (inputs.shape, core.shape, outputs.shape) == ((2, 4, 1, 1), (3, 2, 3, 3), (6, 3, 1, 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        decompose(torch.tensor([[1.0, value]]), "svd")
