import itertools
from collections import Counter
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from effbench.analysis import Counts, plot_saturation, saturation_point, saturation_sentence
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.uncertainty.bootstrap import interval_of, resampled_losses, resampled_qualities


def sweep(accuracies, *, n=1000, seeds=(0,), nested=False, seed=0):
    """Runs that have these shares right, and which examples. Nested: the worse is right only where the better is."""
    rng = np.random.default_rng(seed)
    rows, correct = [], {}
    for number, (accuracy, s) in enumerate(itertools.product(accuracies, seeds)):
        bits = np.arange(n) < round(accuracy * n)
        correct[f"key{number}"] = bits if nested else rng.permutation(bits)
        point = "reference" if accuracy == accuracies[0] else f"prune={accuracies.index(accuracy)}"
        rows.append(
            {
                "point": point,
                "seed": s,
                "reference": point == "reference",
                "run_key": f"key{number}",
                "size_bytes": 1000 - 100 * accuracies.index(accuracy),
                "accuracy_val": bits.mean(),
            }
        )
    return pd.DataFrame(rows).sample(frac=1, random_state=seed), correct


def qualities(frame, correct, **options):
    """Of the runs in the order of their keys: (n_resamples, n_runs)."""
    return resampled_qualities(frame.sort_values("run_key"), "accuracy_val", Counts.of_correct(correct), **options)


def losses(frame, correct, **options):
    curve = curve_of(frame, cost="size_bytes", quality="accuracy_val")
    return resampled_losses(curve, Counts.of_correct(correct), **options), curve


def naive_accuracies(correct, keys, *, n_resamples, seed=0):
    """Resample by resample, example by example, as the definition says: (n_resamples, n_runs)."""
    generator = np.random.default_rng((seed, 0))
    accuracies = np.empty((n_resamples, len(keys)))
    for resample in range(n_resamples):
        n = len(correct[keys[0]])
        examples = generator.integers(0, n, n, dtype=np.int32)
        for point, key in enumerate(keys):
            accuracies[resample, point] = sum(bool(correct[key][example]) for example in examples) / n
    return accuracies


@pytest.mark.parametrize("seed", range(3))
def test_accuracies_are_those_of_a_plain_loop_to_the_bit(seed):
    frame, correct = sweep([0.9, 0.85, 0.8, 0.3], n=137 + seed, seed=seed)
    drawn = qualities(frame, correct, n_resamples=120, seed=seed)
    naive = naive_accuracies(correct, ["key0", "key1", "key2", "key3"], n_resamples=120, seed=seed)
    assert np.array_equal(drawn, naive)
    lost, _ = losses(frame, correct, n_resamples=120, seed=seed)
    assert np.array_equal(lost, (naive[:, [0]] - naive)[:, ::-1])  # from the cheapest to the most expensive


def test_resampled_qualities_spread_as_the_binomial_does():
    frame, correct = sweep([0.9, 0.7], n=2000)
    drawn = qualities(frame, correct, n_resamples=4000)
    assert drawn.shape == (4000, 2)
    expected = np.array([0.9, 0.7])
    assert np.allclose(drawn.mean(0), expected, atol=0.001)
    assert np.allclose(drawn.std(0), np.sqrt(expected * (1 - expected) / 2000), rtol=0.05)


@pytest.mark.parametrize("nested", [True, False])
def test_examples_are_drawn_for_all_runs_alike(nested):
    # A difference varies with the examples on which the two differ, however many both have right.
    frame, correct = sweep([0.9, 0.8], n=1000, nested=nested)
    drawn, _ = losses(frame, correct, n_resamples=4000)
    first, second = correct["key0"].astype(float), correct["key1"].astype(float)
    assert drawn[:, 0].std() == pytest.approx((first - second).std() / np.sqrt(1000), rel=0.05)
    assert (first - second).std() == pytest.approx(0.3 if nested else 0.5, abs=0.02)


def test_the_same_run_twice_never_differs():
    frame, correct = sweep([0.9, 0.9001])
    correct["key1"] = correct["key0"]
    drawn, _ = losses(frame, correct)
    assert (drawn == 0).all()


def test_all_resamples_of_few_examples():
    # Three examples, one right: the number of rights is binomial (3, 1/3), exactly.
    frame, correct = sweep([2 / 3, 1 / 3], n=3)
    drawn = qualities(frame, correct, n_resamples=20_000)
    occurrences = Counter(np.round(3 * drawn[:, 1]).astype(int).tolist())
    expected = [comb(3, k) * 2 ** (3 - k) / 27 for k in range(4)]
    assert [occurrences[k] / 20_000 for k in range(4)] == pytest.approx(expected, abs=0.012)


def with_shifts(accuracies, shifts, *, n=1000):
    """Runs whose accuracy differs between seeds: by point and seed, in examples."""
    frame, correct = sweep(accuracies, seeds=tuple(range(len(shifts[0]))), n=n)
    frame = frame.sort_values("run_key", key=lambda keys: keys.str[3:].astype(int)).reset_index(drop=True)
    for row, (point, seed) in enumerate(itertools.product(range(len(accuracies)), range(len(shifts[0])))):
        key = frame["run_key"][row]
        correct[key] = np.arange(n) < round(accuracies[point] * n) + shifts[point][seed]
        frame.loc[row, "accuracy_val"] = correct[key].mean()
    return frame, correct


@pytest.mark.extended
def test_seeds_vary_too_as_t_does_for_a_point_and_its_reference_alike():
    both, correct = with_shifts([0.9, 0.7], [(0, 60, -60)] * 2)
    drawn, _ = losses(both, correct, n_resamples=4000)
    assert drawn[:, 0].std() < 0.02  # they shift both
    alone, correct = with_shifts([0.9, 0.7], [(0, 0, 0), (0, 60, -60)])
    drawn, curve = losses(alone, correct, n_resamples=40_000)
    # Of three seeds with deviations 0, ±0.06 the mean has a standard error of 0.06 / √3, and 2 degrees of freedom.
    low, high = np.quantile(drawn[:, 0], [0.025, 0.975]) - curve.losses[0]
    assert (low, high) == pytest.approx((-4.303 * 0.06 / np.sqrt(3), 4.303 * 0.06 / np.sqrt(3)), rel=0.06)
    one_seed, _ = losses(alone[alone["seed"] == 0], correct, n_resamples=4000)
    assert one_seed[:, 0].std() < 0.02


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(("n_seeds", "quantile"), [(2, 12.71), (3, 4.303), (5, 2.776)])
def test_points_whose_losses_go_together_stay_together(n_seeds, quantile):
    shifts = tuple(range(0, 20 * n_seeds, 20))
    frame, correct = with_shifts([0.9, 0.8, 0.79], [(0,) * n_seeds, shifts, shifts], n=2000)
    drawn, curve = losses(frame, correct, n_resamples=20_000)
    # The two differ by one hundredth whatever the seed; their own losses vary by the t quantile of so many seeds.
    assert np.quantile(np.abs(drawn[:, 0] - drawn[:, 1] - 0.01), 0.95) < 0.005
    error = quantile * np.std(shifts, ddof=1) / 2000 / np.sqrt(n_seeds)
    with_examples = np.hypot(error, 1.96 * np.sqrt(0.1 * 0.9 / 2000))
    assert 0.95 * error <= np.quantile(np.abs(drawn[:, 0] - curve.losses[0]), 0.95) <= 1.05 * with_examples


def test_a_point_that_lacks_a_seed_is_paired_with_its_reference_on_the_others():
    # The second seed is bad for both; the point lost it, and still loses 0.05 in every resample.
    frame, correct = with_shifts([0.9, 0.85], [(0, -200, 0)] * 2)
    part = frame[~((frame["point"] == "prune=1") & (frame["seed"] == 1))]
    drawn, curve = losses(part, correct)
    assert curve.n_seeds.tolist() == [2, 3]
    assert np.allclose(drawn.mean(0), [0.05, 0], atol=0.002)
    assert drawn[:, 0].std() < 0.01
    # Nor is a seed drawn that the reference lost.
    other, _ = losses(frame[~((frame["point"] == "reference") & (frame["seed"] == 1))], correct)
    assert other[:, 0].mean() == pytest.approx(0.05, abs=0.002) and other[:, 0].std() < 0.01


def test_a_seed_of_one_point_does_not_change_the_losses_of_another():
    frame, correct = with_shifts([0.9, 0.85, 0.8], [(0, -50, 20), (10, 0, -10), (0, 0, 7)])
    whole, _ = losses(frame, correct, n_resamples=50)
    part, _ = losses(frame[~((frame["point"] == "prune=1") & (frame["seed"] == 1))], correct, n_resamples=50)
    assert np.array_equal(whole[:, [0, 2]], part[:, [0, 2]])
    assert not np.array_equal(whole[:, 1], part[:, 1])


def test_runs_paired_by_key_alone_are_drawn_in_pairs():
    frame, correct = with_shifts([0.9, 0.85], [(0, -200, 0)] * 2)
    keyed = frame.assign(reference_key=["key0", "key1", "key2"] * 2).drop(columns="seed")
    drawn, _ = losses(keyed, correct)
    assert drawn[:, 0].std() < 0.01 and drawn[:, 0].mean() == pytest.approx(0.05, abs=0.002)


@pytest.mark.extended
@settings(max_examples=10)
@given(st.integers(0, 50))
def test_the_order_of_rows_does_not_matter(seed):
    frame, correct = sweep([0.9, 0.85, 0.8], n=100, seeds=(0, 1))
    ordered, _ = losses(frame.sort_values("run_key"), correct, n_resamples=20)
    shuffled, _ = losses(frame.sample(frac=1, random_state=seed), correct, n_resamples=20)
    assert np.allclose(ordered, shuffled, atol=1e-12)


def test_a_clear_choice_has_a_narrow_interval_and_a_close_one_a_wide_one():
    clear, clear_correct = sweep([0.95, 0.945, 0.80], n=2000, nested=True)
    assert saturation_point(clear, counts=Counts.of_correct(clear_correct)).interval == (900, 900)
    close, close_correct = sweep([0.95, 0.945, 0.929], n=2000, nested=True)
    assert saturation_point(close, counts=Counts.of_correct(close_correct)).interval == (800, 900)


def test_networks_that_are_wrong_about_the_same_examples_are_told_apart_sooner():
    # 2.8 points lost: beyond the tolerance by 2 deviations of the difference, or by one where errors are unrelated.
    for nested, interval in ((True, (900, 900)), (False, (800, 900))):
        frame, correct = sweep([0.95, 0.945, 0.922], n=2000, nested=nested)
        assert saturation_point(frame, counts=Counts.of_correct(correct)).interval == interval


@pytest.mark.extended
def test_the_interval_covers_the_truth_as_often_as_it_says():
    # 200 sweeps in which a point truly loses 1.5 points, on 500 examples.
    hits = 0
    frame, _ = sweep([0.9, 0.8, 0.7])
    for trial in range(200):
        rng = np.random.default_rng(trial)
        right = rng.random(500) < 0.9
        correct = {"key0": right, "key1": right & (rng.random(500) >= 0.015 / 0.9)}
        correct["key2"] = right & (rng.random(500) >= 0.030 / 0.9)
        frame["accuracy_val"] = [correct[key].mean() for key in frame["run_key"]]
        drawn, _ = losses(frame, correct, n_resamples=200, seed=trial)
        low, high = interval_of(drawn[:, 1])
        hits += low <= 0.015 <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_without_counts_there_is_no_interval():
    frame, correct = sweep([0.95, 0.945, 0.80])
    assert saturation_point(frame).interval is None
    none = saturation_point(frame[frame["point"] != "prune=2"], counts=Counts.of_correct(correct))
    assert none.point is None and none.interval == (900, 1000)  # not reached, but not firmly so
    single = saturation_point(frame[frame["point"] == "reference"], counts=Counts.of_correct(correct))
    assert single.point is None and single.interval is None


def test_interval_ends_are_values():
    assert interval_of(np.array([3.0, 1.0, 2.0, 2.0])) == (1.0, 3.0)
    assert interval_of(np.r_[np.zeros(98), 1.0, 1.0]) == (0.0, 0.0)


@pytest.mark.extended
def test_the_sentence_and_the_figure_say_it():
    frame, correct = sweep([0.95, 0.945, 0.929], n=2000, nested=True)
    sentence = saturation_sentence(frame, cost="size_bytes", counts=Counts.of_correct(correct))
    assert sentence == (
        "size_bytes: prune=1 keeps accuracy within 2 points (loses 0.5) at 0.9× the bytes (95 %, examples only, "
        "1 seed: 0.8× to 0.9×); 2 loses 2.1"
    )
    clear, clear_correct = sweep([0.95, 0.945, 0.80], n=2000, nested=True)
    clear_counts = Counts.of_correct(clear_correct)
    sentence = saturation_sentence(clear, cost="size_bytes", counts=clear_counts)
    assert "at 0.9× the bytes (95 %, examples only, 1 seed: 0.9×); 2 loses" in sentence
    lines = {}
    for name, (runs, known) in {
        "close": (frame, Counts.of_correct(correct)),
        "clear": (clear, clear_counts),
    }.items():
        axes = plot_saturation(runs, cost="size_bytes", ax=Figure().subplots(), counts=known)
        lines[name] = [line for line in axes.lines if line.get_gid() == "interval"]
    assert [line.get_xdata().tolist() for line in lines["close"]] == [[800, 900]]
    assert lines["clear"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame, correct: correct.pop("key1"), "run key1: there are no counts of it"),
        (
            lambda frame, correct: correct.update(key1=np.ones(7, dtype=bool)),
            "has the counts of .* examples and 1 ratios",
        ),
        (lambda frame, correct: correct.update(key1=~correct["key1"]), "of another split or of another run"),
        (lambda frame, correct: frame.pop("run_key"), "counts are known by run_key"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    frame, correct = sweep([0.95, 0.945, 0.80])
    change(frame, correct)
    with pytest.raises(ValueError, match=message):
        saturation_point(frame, counts=Counts.of_correct(correct))


def test_counts_of_another_kind_do_not_fit():
    frame, correct = sweep([0.95, 0.945, 0.80])
    counts = Counts(kind="exp_of_ratio", by_run=Counts.of_correct(correct).by_run)
    with pytest.raises(ValueError, match=r"accuracy_val is 0\.\d+, its counts say 2\.\d+: those of another split"):
        saturation_point(frame, counts=counts)
