import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.data.splits import checked_shares, stratified_split

SHARES = (0.6, 0.2, 0.2)


@st.composite
def labelled(draw):
    """Labels of classes of very different sizes, in any order, and shares of which none leaves a split empty."""
    sizes = draw(st.lists(st.integers(1, 60), min_size=1, max_size=12))
    labels = np.repeat(np.arange(len(sizes)) * 3 + 1, sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    first = draw(st.floats(0.1, 0.8))
    second = draw(st.floats(0.1, 0.9)) * (1 - first)
    return rng.permutation(labels), (first, second, 1 - first - second)


@given(labelled(), st.integers(0, 2**32 - 1))
def test_splits_are_disjoint_cover_everything_and_keep_the_shares_of_each_class(case, seed):
    labels, shares = case
    try:
        parts = stratified_split(labels, shares, seed=seed)
    except ValueError as error:
        assert "would be empty" in str(error) and len(labels) * min(shares) < 1.5
        return
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(labels)))
    for split, share, slack in zip(("train", "val", "test"), shares, (1, 2, 2), strict=True):
        assert abs(len(parts[split]) - share * len(labels)) <= 1
        for label in np.unique(labels):
            n_members = (labels == label).sum()
            assert abs((labels[parts[split]] == label).sum() - share * n_members) <= slack + 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_balanced_classes_are_divided_exactly(seed):
    labels = np.tile(np.arange(7), 50)
    parts = stratified_split(labels, SHARES, seed=seed)
    for split, expected in (("train", 30), ("val", 10), ("test", 10)):
        assert np.bincount(labels[parts[split]]).tolist() == [expected] * 7


def test_many_small_classes_do_not_move_the_share_of_a_large_one():
    labels = np.concatenate([np.zeros(1000, dtype=int), np.arange(1, 51)])
    parts = stratified_split(labels, SHARES, seed=0)
    assert abs((labels[parts["train"]] == 0).sum() - 600) <= 1
    assert (labels[parts["train"]] > 0).sum() == 30


def test_a_seed_decides_the_split():
    labels = np.tile(np.arange(5), 40)
    first, again, second = (stratified_split(labels, SHARES, seed=seed) for seed in (3, 3, 4))
    for split in first:
        assert np.array_equal(first[split], again[split])
        assert not np.array_equal(first[split], second[split])


def test_neither_the_number_of_a_class_nor_the_place_of_an_example_decides_where_it_goes():
    labels = np.repeat(np.arange(20), 3)  # 1.8 of each class are for training: some classes give two, some one
    n_train = np.zeros(20)
    n_chosen = np.zeros(60)
    for seed in range(200):
        train = stratified_split(labels, SHARES, seed=seed)["train"]
        n_train += np.bincount(labels[train], minlength=20)
        n_chosen[train] += 1
    # Means of 200 draws: a class's standard deviation is 0.4 / sqrt(200) = 0.03, an example's 0.035.
    assert np.abs(n_train / 200 - 1.8).max() < 0.15
    assert np.abs(n_chosen / 200 - 0.6).max() < 0.17


@pytest.mark.parametrize(
    ("n_examples", "shares", "empty"), [(2, SHARES, "test|val"), (3, (0.98, 0.01, 0.01), "val"), (0, SHARES, "train")]
)
def test_an_empty_split_is_refused(n_examples, shares, empty):
    with pytest.raises(ValueError, match=rf"{n_examples} examples are too few: the ({empty}) split would be empty"):
        stratified_split(np.zeros(n_examples, dtype=int), shares, seed=0)


def test_a_share_of_zero_asks_for_nothing():
    parts = stratified_split(np.tile([0, 1], 10), (0.5, 0.5, 0.0), seed=0)
    assert [len(part) for part in parts.values()] == [10, 10, 0]


@pytest.mark.parametrize("shares", [(0.5, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_shares_that_do_not_sum_to_one_are_refused(shares):
    with pytest.raises(ValueError, match="sum to 1"):
        stratified_split(np.zeros(10, dtype=int), shares, seed=0)


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.2), [1, 0, 0], [0.1, 0.2, 0.7]])
def test_three_numbers_that_sum_to_1_are_shares(shares):
    assert checked_shares(shares) == tuple(shares)


NO_SHARES = [
    *([1], [0.5, 0.5], [0.25] * 4, [], "abc", ["a", "b", "c"], 0.6, None, {"train": 1}, [[1], 0, 0], [True, 0, 0]),
    *([-0.5, 1, 0.5], [0.5, 0.5, 0.5], [0, 0, 0], [float("nan"), 0.5, 0.5], [float("inf"), 0, 0], [None, 0.5, 0.5]),
]


@pytest.mark.parametrize("shares", NO_SHARES, ids=str)
def test_all_else_is_refused_by_its_value(shares):
    with pytest.raises(
        ValueError, match=r"data\.shares=.*: must be three numbers, .* that sum to 1, as in \[0\.6,"
    ) as error:
        checked_shares(shares)
    assert len(str(error.value).splitlines()) == 1
