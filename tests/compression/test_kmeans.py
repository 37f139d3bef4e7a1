import math
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from effbench.compression.kmeans import _start, kmeans

INITIALS = ("linear", "density", "random")
initials = st.sampled_from(INITIALS)


def squared_error(numbers, clusters):
    return float(((numbers - clusters.centroids[clusters.labels(numbers)]) ** 2).sum())


def rounding_error(numbers, grid):
    """The squared error of rounding each number to the nearest of a grid."""
    return float((np.abs(numbers[:, None] - grid).min(1) ** 2).sum())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def numbers(draw):
    """Weights of any scale, of several shapes, some with outliers, some with few distinct values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 300))
    shape = draw(st.sampled_from(["normal", "laplace", "uniform", "outliers", "two groups", "integers"]))
    if shape == "integers":
        drawn = rng.integers(-5, 6, n).astype(float)
    elif shape == "uniform":
        drawn = rng.random(n) + 3
    else:
        drawn = rng.laplace(size=n) if shape == "laplace" else rng.standard_normal(n)
        drawn[: n // 20] *= 50 if shape == "outliers" else 1
        drawn += 100 * rng.integers(0, 2, n) if shape == "two groups" else 0
    return drawn * 10.0 ** draw(st.integers(-6, 4))


@given(numbers(), st.integers(1, 40), initials)
def test_never_worse_than_rounding_to_where_it_starts(numbers, k, initial):
    clusters = kmeans(numbers, k, initial=initial, generator=generator())
    distinct = np.unique(numbers)
    if len(distinct) <= k:
        assert squared_error(numbers, clusters) == 0
        assert np.array_equal(clusters.centroids, distinct)
    else:
        start = _start(np.sort(numbers), distinct, k, initial, generator())
        assert squared_error(numbers, clusters) <= rounding_error(numbers, start) * (1 + 1e-9)
        if initial == "linear":  # which is the usual uniform grid
            grid = numbers.min() + (numbers.max() - numbers.min()) * np.arange(k) / max(1, k - 1)
            assert squared_error(numbers, clusters) <= rounding_error(numbers, grid) * (1 + 1e-9)


@given(numbers(), st.integers(1, 40), initials)
def test_every_cluster_has_members_and_lies_at_their_mean_nearest_to_them(numbers, k, initial):
    clusters = kmeans(numbers, k, initial=initial, generator=generator())
    assert len(clusters.centroids) == min(k, len(np.unique(numbers)))
    labels = clusters.labels(numbers)
    assert set(labels) == set(range(len(clusters.centroids)))
    tiny = 1e-9 * np.abs(numbers).max()
    means = [numbers[labels == label].mean() for label in range(len(clusters.centroids))]
    assert np.allclose(clusters.centroids, means, rtol=0, atol=tiny)
    distances = np.abs(numbers[:, None] - clusters.centroids)
    assert (distances[np.arange(len(numbers)), labels] <= distances.min(1) + tiny).all()
    assert (np.diff(clusters.centroids) > 0).all()


@given(numbers(), st.integers(1, 40), initials, st.integers(0, 2**32 - 1))
def test_the_order_of_the_numbers_does_not_matter(numbers, k, initial, seed):
    shuffled = np.random.default_rng(seed).permutation(numbers)
    one, other = (kmeans(x, k, initial=initial, generator=generator()) for x in (numbers, shuffled))
    assert np.array_equal(one.centroids, other.centroids)
    assert np.array_equal(one.lowest, other.lowest)


@pytest.mark.parametrize("initial", INITIALS)
def test_reaches_the_best_quantiser_of_a_normal_distribution(initial):
    # The mean squared error of the best k levels: Max 1960, Quantizing for minimum distortion, table I.
    drawn = np.random.default_rng(0).standard_normal(200_000)
    for k, best in ((2, 0.3634), (4, 0.1175), (8, 0.03454), (16, 0.009497), (32, 0.002499)):
        clusters = kmeans(drawn, k, initial=initial, generator=generator())
        assert squared_error(drawn, clusters) / len(drawn) == pytest.approx(best, rel=0.04)


@pytest.mark.matrix(fast=14)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("initial", INITIALS)
@pytest.mark.parametrize("shape", ["standard_normal", "standard_t", "laplace", "random"])
def test_more_values_are_never_worse_on_layers_of_weights(shape, initial, seed):
    # Lloyd's algorithm stops at a local optimum, so this is no theorem; it holds on what layers look like.
    rng = np.random.default_rng(seed)
    weights = rng.standard_t(4, 4_000) if shape == "standard_t" else getattr(rng, shape)(size=4_000)
    errors = [
        squared_error(weights, kmeans(weights, k, initial=initial, generator=generator(seed)))
        for k in (2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256, 1024, 4_000)
    ]
    assert all(fine < coarse for coarse, fine in pairwise(errors))
    assert errors[-1] == 0


@pytest.mark.extended
def test_is_what_scikit_learn_finds():
    from sklearn.cluster import KMeans

    drawn = np.random.default_rng(1).laplace(size=3_000)
    for k in (2, 5, 8):
        start = np.linspace(drawn.min(), drawn.max(), k)[:, None]
        theirs = KMeans(k, init=start, n_init=1, max_iter=1_000, tol=0, algorithm="lloyd").fit(drawn[:, None])
        ours = kmeans(drawn, k)
        assert squared_error(drawn, ours) <= theirs.inertia_ * (1 + 1e-6)
        if k < 8:  # where no cluster runs empty, which is mended differently
            assert ours.centroids == pytest.approx(np.sort(theirs.cluster_centers_[:, 0]), abs=1e-6)


def test_a_million_numbers_take_no_time_to_speak_of():
    drawn = np.random.default_rng(0).standard_normal(1_000_000)
    started = time.process_time()
    assert len(kmeans(drawn, 256).centroids) == 256
    assert time.process_time() - started < 3  # 0.1 s, where k-means over numbers x clusters takes minutes


def test_where_it_starts():
    ordered = np.concatenate([np.linspace(0, 1, 99), [100.0]])
    linear, density, drawn = (_start(ordered, ordered, 5, initial, generator()) for initial in INITIALS)
    assert linear == pytest.approx([0, 25, 50, 75, 100])
    assert density == pytest.approx(ordered[[10, 30, 50, 70, 90]])
    assert set(drawn) <= set(ordered) and len(set(drawn)) == 5
    assert not np.array_equal(drawn, _start(ordered, ordered, 5, "random", generator(1)))


def test_one_cluster_is_the_mean():
    assert kmeans(np.array([1.0, 2.0, 6.0]), 1).centroids == pytest.approx([3])


@pytest.mark.parametrize(
    ("numbers", "k", "initial", "reason"),
    [
        ([], 2, "linear", "at least one number"),
        ([1.0, math.nan], 2, "linear", "finite"),
        ([1.0, math.inf], 2, "linear", "finite"),
        ([1.0], 0, "linear", "n_clusters=0: must be 1 or more"),
        ([1.0], 2, "kmeans++", r"initial=kmeans\+\+: must be linear, density, random"),
    ],
)
def test_what_cannot_be_clustered_is_refused(numbers, k, initial, reason):
    with pytest.raises(ValueError, match=reason):
        kmeans(np.array(numbers), k, initial=initial)
