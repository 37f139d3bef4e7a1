import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.analysis import Counts, compare

from .conftest import runs_of


def two(shift=0.02):
    a = runs_of([("reference", 100, [0.9, 0.92, 0.94]), ("bits=4, prune=0.5", 20, [0.8, 0.84, 0.82])])
    b = runs_of([("prune=0.5, bits=4", 10, [0.8 + shift, 0.84 + shift, 0.82 + shift]), ("prune=0.9", 5, 0.5)])
    return a, b


def counted(accuracies, name, seeds=(0,), n=400, rng_seed=0):
    rng = np.random.default_rng(rng_seed)
    rows, correct = [], {}
    for label, accuracy in accuracies:
        for seed in seeds:
            bits = rng.permutation(np.arange(n) < round(accuracy * n))
            key = f"{name}/{label}/{seed}"
            correct[key] = bits
            rows.append({"point": label, "seed": seed, "run_key": key, "size_bytes": 1, "accuracy_val": bits.mean()})
    return pd.DataFrame(rows), correct


def test_points_are_the_same_where_their_axes_are_and_others_are_listed():
    table = compare(*two())
    assert table["point"].tolist() == ["bits=4, prune=0.5"] and table["n_seeds"].tolist() == [3]
    assert table["difference"][0] == pytest.approx(0.02) and table["size_bytes_ratio"][0] == 0.5
    assert (table.attrs["only_a"], table.attrs["only_b"]) == (["reference"], ["prune=0.9"])


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("bits=4", "bits=4.0", True),
        ("bits=4.0, prune=.5", "prune=0.50, bits=4", True),
        ("lr=0.001", "lr=1e-3", True),
        ("lr=1E+1", "lr=10", True),
        ("shift=-0", "shift=0.0", True),
        ("big=9007199254740993", "big=9007199254740992", False),
        ("bits=4", "bits=40", False),
        ("bits=4", "share=4", False),
        ("kernel=3", "kernel=3x1", False),
        ("pooling=[1, 3]", "pooling=[1, 3.0]", False),
        ("model=nan", "model=nan", True),
        ("model=1_0", "model=10", False),
        ("one: bits=4", "one: bits=4.0", True),
        ("one: bits=4", "two: bits=4.0", False),
        ("one: alpha=1, bits=4", "one: alpha=1.0, bits=4", True),
        ("4", "4.0", True),
    ],
)
def test_numbers_are_the_same_by_what_they_are_worth(one, other, is_same):
    a, b = (runs_of([("reference", 100, 0.9), (label, 20, 0.8)]) for label in (one, other))
    table = compare(a, b)
    assert (table["point"].tolist(), table.attrs["only_b"]) == (
        (["reference", one], []) if is_same else (["reference"], [other])
    )


def test_points_read_from_a_file_are_those_that_were_written(tmp_path):
    a = runs_of([("bits=4", 20, [0.8, 0.81]), ("bits=2", 10, [0.7, 0.71])], seeds=(0, 1)).assign(bits=[4, 4, 2, 2])
    a.assign(point=[f"bits={bits:.1f}" for bits in a["bits"]]).to_csv(tmp_path / "runs.csv", index=False)
    assert compare(a, pd.read_csv(tmp_path / "runs.csv"))["difference"].tolist() == [0.0, 0.0]
    plain = a.assign(point=a["bits"])
    assert compare(plain, plain.assign(point=plain["bits"].astype(float)))["n_seeds"].tolist() == [2, 2]


def test_what_one_sweep_writes_in_two_ways_is_text_and_two_points():
    frame = runs_of([("version=1.1", 20, 0.8), ("version=1.10", 30, 0.81)])
    table = compare(frame, frame)
    assert table["point"].tolist() == ["version=1.1", "version=1.10"] and not table.attrs["only_b"]


def test_what_stands_before_the_axes_tells_points_apart():
    frame = runs_of([("one: alpha=0.5, bits=4", 20, 0.8), ("two: alpha=0.5, bits=4", 10, 0.7)])
    assert compare(frame, frame)["point"].tolist() == ["one: alpha=0.5, bits=4", "two: alpha=0.5, bits=4"]


def test_seeds_are_paired_so_that_what_they_share_cancels():
    table = compare(*two())
    assert table["low"][0] == pytest.approx(0.02) and table["high"][0] == pytest.approx(0.02)
    assert table["covers"][0] == "3 seeds"


def test_seeds_of_one_alone_are_named_and_not_averaged_in():
    a, b = two()
    table = compare(a, b[~((b["point"] == "prune=0.5, bits=4") & (b["seed"] == 1))])
    assert table["n_seeds"][0] == 2 and table.attrs["unpaired"] == {"bits=4, prune=0.5": ["1"]}
    assert table["difference"][0] == pytest.approx(0.02)


def test_one_seed_covers_the_examples_only_and_says_so():
    (a, own), (b, others) = counted([("bits=4", 0.8)], "a"), counted([("bits=4", 0.9)], "b", rng_seed=1)
    table = compare(a, b, counts=Counts.of_correct(own | others))
    assert table["covers"][0] == "examples only, 1 seed"
    paired = np.subtract(others["b/bits=4/0"].astype(int), own["a/bits=4/0"].astype(int))
    expected = 1.96 * paired.std(ddof=1) / math.sqrt(len(paired))
    assert (table["high"][0] - table["low"][0]) / 2 == pytest.approx(expected, rel=0.08)
    without = compare(a, b)
    assert math.isnan(without["low"][0]) and without["covers"][0].startswith("nothing")


def test_equal_runs_differ_by_nothing():
    a, own = counted([("bits=4", 0.8), ("bits=2", 0.5)], "a", seeds=(0, 1))
    table = compare(a, a, counts=Counts.of_correct(own))
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)
    assert set(table["covers"]) == {"examples and 2 seeds"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: (a, b[b["point"] == "prune=0.9"]), "no point in common"),
        (lambda a, b: (a, b.assign(seed=b["seed"] + 9)), "no seed in common"),
        (lambda a, b: (a, b.iloc[:0]), "frame_b has no rows"),
        (lambda a, b: (a, pd.concat([b, b])), "has two runs of seed 0"),
        (lambda a, b: (a, b.assign(accuracy_val=np.nan)), "accuracy_val is nan"),
        (lambda a, b: (a, b.rename(columns={"accuracy_val": "miou_val"})), "no quality column 'accuracy_val'"),
        (lambda a, b: (a.drop(columns="point"), b), "frame_a has no column point"),
    ],
)
def test_what_can_not_be_compared_is_refused_in_a_line(change, message):
    with pytest.raises(ValueError) as error:
        compare(*change(*two()))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_counts_of_other_examples_are_refused():
    (a, own), (b, others) = counted([("bits=4", 0.8)], "a"), counted([("bits=4", 0.8)], "b", n=300)
    with pytest.raises(ValueError, match="300 examples"):
        compare(a, b, counts=Counts.of_correct(own | others))
    with pytest.raises(ValueError, match="data differs"):
        compare(a.assign(data="one"), b.assign(data="two"), counts=Counts.of_correct(own | others))


@pytest.mark.extended
@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([1, 1024]))
def test_order_of_rows_and_scale_of_units_do_not_move_the_answer(random, factor):
    a, b = two(0.01)
    order = list(range(len(b)))
    random.shuffle(order)
    scaled = b.iloc[order].assign(size_bytes=b["size_bytes"] * factor)
    one, other = compare(a, b), compare(a.assign(size_bytes=a["size_bytes"] * factor), scaled)
    names = ["difference", "low", "high", "size_bytes_ratio"]
    assert np.allclose(one[names], other[names])


def test_swapping_the_two_turns_signs():
    a, b = two(0.01)
    b["accuracy_val"] += np.linspace(0, 0.01, len(b))
    one, other = compare(a, b), compare(b, a)
    assert one["difference"][0] == pytest.approx(-other["difference"][0])
    assert one["low"][0] == pytest.approx(-other["high"][0])
