import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from effbench.measure.compute import count_cost
from effbench.models.haar import HaarBands, haar, inverse_haar, split_input


def images(n_channels=3, height=8, width=6, dtype=torch.float32):
    return torch.randn(2, n_channels, height, width, generator=torch.Generator().manual_seed(0)).to(dtype)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_the_inverse_gives_the_images_back(n_channels, height, width):
    given_images = images(n_channels, height, width)
    bands = haar(given_images)
    assert bands.shape == (2, 4 * n_channels, -(-height // 2), -(-width // 2))
    assert (inverse_haar(bands, (height, width)) - given_images).abs().max() < 1e-6


def test_it_is_orthonormal():
    whole = images(1, 4, 4, torch.float64)
    basis = torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)
    matrix = haar(basis).reshape(16, 16)
    assert torch.allclose(matrix @ matrix.T, torch.eye(16, dtype=torch.float64))
    assert torch.allclose(haar(whole).square().sum(), whole.square().sum())


def test_what_each_band_holds():
    # Constant images have an average alone; columns, rows and a chequered pattern one band of details each.
    column, row = torch.tensor([1.0, -1.0]).repeat(2).expand(4, 4), torch.tensor([1.0, -1.0]).repeat(2).expand(4, 4).T
    for band, picture in enumerate((torch.ones(4, 4), column, row, column * row)):
        energies = haar(picture[None, None]).square().sum((0, 2, 3))
        assert energies.nonzero().flatten().tolist() == [band]
        assert energies[band] == 16


def test_channels_stay_together_band_by_band():
    coloured = images(3)
    for channel in range(3):
        assert torch.equal(haar(coloured)[:, channel::3], haar(coloured[:, channel : channel + 1]))


@pytest.mark.parametrize("sides", [(8, 8), (7, 7), (7, 4), (1, 1)])
def test_the_low_band_is_the_first_of_all(sides):
    given_images = images(2, *sides)
    assert torch.equal(HaarBands("low")(given_images), haar(given_images)[:, :2])
    assert torch.equal(HaarBands("both")(given_images), haar(given_images))


def test_an_odd_last_row_is_repeated():
    odd = images(1, 3, 4)
    assert torch.equal(haar(odd), haar(torch.cat([odd, odd[..., -1:, :]], dim=2)))


@pytest.mark.parametrize("bands", ["both", "low"])
def test_it_multiplies_nothing_that_the_counter_does_not_know(bands):
    cost = count_cost(HaarBands(bands), (3, 9, 9))
    assert (cost.macs, cost.params, cost.unknown) == (0, 0, ())


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match=r"bands must be none, both, low .*got 'all'"):
        split_input("all", 1, 28)
    with pytest.raises(ValueError, match="four times the channels of an image, got 6"):
        inverse_haar(torch.zeros(1, 6, 2, 2))
