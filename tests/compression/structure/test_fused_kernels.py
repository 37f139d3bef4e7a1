"""The loops against numpy and PyTorch; what they are for, and their gradients, is in test_fusion."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from effbench.compression.structure import fused_kernels as kernels

INFINITY = np.float32(-np.inf)
ZERO = np.float32(0)


def maps(n=3, height=4, width=6, channels=8, seed=0):
    return np.random.default_rng(seed).normal(3, 2, (n, height, width, channels)).astype(np.float32)


def bits(values):
    """The bfloat16 nearest to float32 values, as its bits."""
    return torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()


def test_rows_hold_whole_pixels_and_about_so_many_columns():
    for shape in ((3, 4, 6, 8), (1, 5, 7, 3), (2, 2, 2, 700)):
        rows = kernels.as_rows(np.zeros(shape, np.float32))
        assert rows.size == np.prod(shape)
        assert rows.shape[1] % shape[3] == 0
        assert rows.shape[1] <= max(kernels.COLUMNS, shape[3])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sums_are_those_around_the_pivot(dtype):
    values = maps(n=40)
    x = bits(values) if dtype == "bfloat16" else values
    exact = torch.from_numpy(values).bfloat16().double().numpy() if dtype == "bfloat16" else values.astype(np.float64)
    pivot = np.full(8, 3, np.float32)
    rows = kernels.as_rows(x)
    first, second = kernels.moments(rows, kernels.tiled(pivot.astype(np.float64), rows.shape[1]), 8)
    distances = exact.reshape(-1, 8) - 3
    assert np.allclose(first, distances.sum(0), rtol=1e-5, atol=1e-2)
    assert np.allclose(second, (distances**2).sum(0), rtol=1e-5)


@pytest.mark.parametrize("floor", [INFINITY, ZERO])
def test_pooled_maps_are_the_largest_normalised_values(floor):
    x = maps(height=5, width=7)
    normaliser = np.stack([np.linspace(-1, 1, 8), np.linspace(0, 2, 8)])
    pooled, whole = np.empty((3, 2, 3, 8), np.float32), np.empty_like(x)
    kernels.apply(x, normaliser, floor, True, pooled)
    kernels.apply(x, normaliser, floor, False, whole)
    scale, shift = normaliser.astype(np.float32)
    expected = np.maximum(x * scale + shift, floor)
    assert np.allclose(whole, expected, atol=1e-6)
    pool = F.max_pool2d(torch.from_numpy(expected).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    assert np.allclose(pooled, pool.numpy(), atol=1e-6)


def test_bfloat16_is_rounded_to_nearest_ties_to_even_and_nan_stays():
    values = np.array([1.0, 1.00390625, 1.01171875, -1.00390625, 3.3895e38, np.inf, -np.inf, np.nan], np.float32)
    x = bits(values).reshape(1, 1, 1, -1)
    y = np.empty_like(x)
    kernels.apply(x, np.stack([np.ones(8), np.zeros(8)]), INFINITY, False, y)
    assert np.array_equal(y[..., :7], x[..., :7])
    assert torch.from_numpy(y).view(torch.bfloat16).isnan().reshape(-1).tolist() == [False] * 7 + [True]
    halves = np.array([1.001953125, 1.005859375, 1.0, 0, 0, 0, 0, 0], np.float32).reshape(1, 1, 1, -1)
    kernels.apply(np.zeros_like(x), np.stack([np.zeros(8), halves.reshape(-1).astype(np.float64)]), INFINITY, False, y)
    assert np.array_equal(y.reshape(-1), bits(halves.reshape(-1)))


def test_running_statistics_move_as_those_of_the_module():
    x = maps()
    running = (np.zeros(8, np.float32), np.ones(8, np.float32))
    affine = (np.ones(8, np.float32), np.zeros(8, np.float32))
    normaliser = kernels.forward(x, affine, running, 0.1, 1e-5, INFINITY, False, np.empty_like(x))
    norm = torch.nn.BatchNorm2d(8)
    norm(torch.from_numpy(x).permute(0, 3, 1, 2))
    assert np.allclose(running[0], norm.running_mean, atol=1e-6)
    assert np.allclose(running[1], norm.running_var, rtol=1e-5)
    assert np.allclose(normaliser[2], x.reshape(-1, 8).mean(0), atol=1e-5)
    assert np.allclose(normaliser[3], 1 / np.sqrt(x.reshape(-1, 8).var(0) + 1e-5), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_loading_compiles_what_training_needs(dtype):
    kernels.load(dtype)
    assert kernels.forward.signatures
    assert kernels.backward.signatures
