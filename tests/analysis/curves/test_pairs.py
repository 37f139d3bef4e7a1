import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from effbench.analysis.curves.averages import point_numbers, read_runs
from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.pairs import asked_seeds, base_of, pair_runs, pair_with_references
from tests.analysis.conftest import runs_of


def pairs_of(frame):
    runs = read_runs(frame)
    points = point_numbers(runs)
    return runs, points, pair_with_references(runs, points)


def partners(frame):
    runs, _, pairs = pairs_of(frame)
    return {runs["run_key"][a]: runs["run_key"][b] for a, b in zip(pairs.runs, pairs.reference_runs, strict=True)}


def test_runs_know_their_references_by_key_or_else_by_seed(lucky):
    expected = {key: f"reference/{key[-1]}" for key in lucky["run_key"]}
    assert partners(lucky) == expected
    without = lucky.drop(columns="reference_key")
    assert partners(without.sample(frac=1, random_state=0)) == expected


def test_runs_without_their_reference_are_not_compared(lucky):
    part = lucky[lucky["run_key"] != "reference/0"]
    for frame in (part, part.drop(columns="reference_key")):
        assert sorted(partners(frame)) == ["prune=0.5/1", "prune=0.5/2", "prune=0.9/2", "reference/1", "reference/2"]


def test_means_are_over_the_seeds_of_both(lucky):
    runs, points, pairs = pairs_of(lucky)
    own, reference = pairs.means_of(runs["accuracy_val"], 3)
    labels = [runs["point"][np.flatnonzero(points == point)[0]] for point in range(3)]
    losses = dict(zip(labels, reference - own, strict=True))
    assert losses["prune=0.9"] == pytest.approx(0.03)
    assert losses["prune=0.5"] == pytest.approx(0.01)
    assert losses["reference"] == 0


def test_a_mean_over_an_unmeasured_run_is_not_a_number(lucky):
    runs, _, pairs = pairs_of(lucky.assign(macs=[1.0, None, 1, 1, 1, 1, 1, 1]))
    own, reference = pairs.means_of(runs["macs"], 3)
    assert np.isnan(own).sum() == 1
    assert np.isnan(reference).sum() == 2  # the reference's own, and prune=0.5, which has that seed; not prune=0.9


def test_runs_of_unknown_seeds_are_compared_by_their_averages(lucky):
    frame = lucky.drop(columns=["seed", "reference_key"])
    runs, _, pairs = pairs_of(frame)
    assert not pairs.is_paired
    own, reference = pairs.means_of(runs["accuracy_val"], 3)
    assert np.unique(reference).tolist() == pytest.approx([0.94])
    assert sorted(own) == pytest.approx([0.93, 0.93, 0.94])


def test_each_recipe_has_its_own_reference():
    frame = pd.concat([runs_of([("reference", 9, 0.9), ("prune=0.5", 5, 0.8)], recipe=r) for r in "ab"])
    frame.loc[frame["recipe"] == "b", "accuracy_val"] -= 0.2
    runs, _, pairs = pairs_of(frame.drop(columns="reference_key"))
    own, reference = pairs.means_of(runs["accuracy_val"], 4)
    assert sorted(reference - own) == pytest.approx([0, 0, 0.1, 0.1])


def test_several_marked_references_without_keys_are_refused():
    frame = pd.concat(
        [runs_of([(f"coder={c}, reference", 9, 0.9)], reference=f"coder={c}, reference") for c in ("ans", "none")]
    )
    points = runs_of([("coder=ans, prune=0.5", 5, 0.9)])
    with pytest.raises(ValueError, match="2 points are marked as the reference, and there is no reference_key"):
        pairs_of(pd.concat([frame, points]).drop(columns="reference_key"))


def test_seeds_of_one_point_with_different_references_are_refused(lucky):
    frame = pd.concat([lucky, runs_of([("other, reference", 9, 0.9)], reference="other, reference")])
    frame.loc[frame["run_key"] == "prune=0.5/1", "reference_key"] = "other, reference/1"
    with pytest.raises(ValueError, match="its reference is another point than that of its point's other seeds"):
        pairs_of(frame)


@pytest.mark.parametrize(
    ("change", "base"),
    [
        (lambda f: f, "reference"),
        (lambda f: f[f["reference"]], "most accurate"),
        (lambda f: f[~f["reference"]], "missing"),
        (lambda f: f[~f["reference"]].drop(columns="reference_key"), "stand-in"),
        (lambda f: f[["size_bytes", "accuracy_val"]], "most expensive"),
        (lambda f: f.assign(reference_key="", reference=False, point="a"), "most accurate"),
    ],
)
def test_what_points_are_compared_with(lucky, change, base):
    assert base_of(read_runs(change(lucky))) == base


def test_the_most_accurate_is_chosen_on_the_seeds_that_all_have():
    # b's mean is the higher only because its run of the bad seed failed.
    frame = runs_of([("a", 9, [0.95, 0.85]), ("b", 5, [0.94, None])], seeds=(0, 1), reference_key=None)
    runs = read_runs(frame.assign(reference_key="", reference=False))
    points = point_numbers(runs)
    pairs = pair_runs(runs, points, cost="size_bytes", values=runs["accuracy_val"].to_numpy())
    assert runs["point"][np.flatnonzero(points == pairs.references[0])[0]] == "a"


def test_seeds_that_were_asked_for(lucky):
    runs, points, pairs = pairs_of(lucky)
    asked = asked_seeds(runs, points, pairs, {"prune=0.5": frozenset({"7"}), "reference": frozenset({"8"})})
    by_label = {runs["point"][row]: asked[point] for row, point in enumerate(points)}
    assert by_label == {"reference": 4, "prune=0.5": 5, "prune=0.9": 4}
    unknown = lucky.drop(columns=["seed", "reference_key"])
    assert sorted(asked_seeds(read_runs(unknown), points, pairs_of(unknown)[2], {})) == [2, 3, 3]


SEEDS = st.sets(st.integers(0, 3), min_size=1)


@pytest.mark.extended
@settings(max_examples=60, deadline=None)
@given(SEEDS, SEEDS, st.integers(0, 3), st.integers(0, 100))
def test_dropping_a_seed_of_one_point_never_changes_the_loss_of_another(first, second, dropped, number):
    generator = np.random.default_rng(number)

    def accuracies(seeds):
        return [round(generator.uniform(0.5, 1), 3) if seed in seeds else None for seed in range(4)]

    points = [("reference", 9, accuracies(range(4))), ("a", 5, accuracies(first)), ("b", 3, accuracies(second))]
    frame = runs_of(points, seeds=range(4))
    part = frame[~((frame["point"] == "a") & (frame["seed"] == dropped))]
    losses = []
    for runs in (frame, part.sample(frac=1, random_state=number)):
        curve = curve_of(runs, cost="size_bytes")
        losses.append(dict(zip(curve.points["point"], curve.losses, strict=True)))
    assert losses[0]["b"] == losses[1]["b"]
    shared = [seed for seed in sorted(second)]
    by_seed = frame.set_index(["point", "seed"])["accuracy_val"]
    expected = np.mean([by_seed["reference", seed] - by_seed["b", seed] for seed in shared])
    assert losses[0]["b"] == pytest.approx(expected, abs=1e-12)
