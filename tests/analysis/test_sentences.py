import numpy as np
import pandas as pd
import pytest

from effbench.analysis import Counts, answers, detail_sentences, saturation_sentence
from tests.analysis.conftest import runs_of


def test_a_saturation_point_is_named(runs):
    assert saturation_sentence(runs, cost="size_bytes") == (
        "size_bytes: prune=0.5 keeps accuracy within 2 points (loses 0.8; test: loses 0.9) at 0.41× the bytes; "
        "0.9 loses 6.3"
    )
    assert saturation_sentence(runs, cost="macs_effective", quality="accuracy", tolerance=0.01) == (
        "macs_effective: prune=0.5 keeps test accuracy within 1 point (loses 0.9) at 0.5× the effective multiply-adds; "
        "0.9 loses 6.5"
    )


def test_latency_names_its_engine(runs):
    frame = runs.assign(**{"latency_ms/eager": [0.2, 1.0, 0.9, 0.6]})
    assert "at 0.6× the latency (eager); 0.9 loses" in saturation_sentence(frame, cost="latency_ms/eager")


def test_not_reached(runs):
    assert saturation_sentence(runs, cost="size_bytes", tolerance=0.1) == (
        "size_bytes: not reached: the cheapest, prune=0.9, at 0.15× the bytes, loses 6.3 points (test: loses 6.5): "
        "still within 10; sweep further"
    )


def test_nothing_acceptable(runs):
    assert saturation_sentence(runs[runs["prune"].isin([0.0, 0.9])], cost="size_bytes") == (
        "size_bytes: nothing cheaper than the reference stays within 2 points: already prune=0.9 loses 6.3 points"
    )


def test_labels_of_several_axes_are_written_in_full(runs):
    frame = runs.assign(point=["prune=0.9, bits=4", "reference", "prune=0.1, bits=4", "prune=0.5, bits=4"])
    assert saturation_sentence(frame, cost="size_bytes").endswith("; prune=0.9, bits=4 loses 6.3")


def test_the_rejected_point_is_the_fronts_next_not_a_dominated_one(runs):
    poor = pd.DataFrame([{**runs.iloc[3].to_dict(), "point": "prune=0.6", "size_bytes": 150_000, "accuracy_val": 0.5}])
    assert saturation_sentence(pd.concat([runs, poor]), cost="size_bytes").endswith("0.9 loses 6.3")


def test_a_loss_is_written_with_the_decimals_that_tell_it_from_the_tolerance(runs):
    frame = runs.assign(accuracy_val=[0.9397, 0.960, 0.961, 0.952])
    assert saturation_sentence(frame, cost="size_bytes").endswith("0.9 loses 2.03")


def test_too_few_points(runs):
    assert saturation_sentence(runs.iloc[:1], cost="size_bytes") == "size_bytes: 2 points are needed, there is 1"


def test_sentences_of_other_qualities(segmented, language):
    assert saturation_sentence(segmented, cost="size_bytes") == (
        "size_bytes: prune=0.5 keeps miou within 2 mIoU points (loses 0.8; test: loses 0.9) at 0.41× the bytes; "
        "0.9 loses 6.3"
    )
    assert saturation_sentence(segmented, cost="size_bytes", quality="miou", tolerance=0.01) == (
        "size_bytes: prune=0.5 keeps test miou within 1 mIoU point (loses 0.9) at 0.41× the bytes; 0.9 loses 6.5"
    )
    assert saturation_sentence(language, cost="size_bytes", tolerance=0.5) == (
        "size_bytes: prune=0.5 keeps perplexity within 0.5 nats (loses 0.3; test: loses 0.4) at 0.41× the bytes; "
        "0.9 loses 9.0"
    )
    assert saturation_sentence(language, cost="size_bytes") == (
        "size_bytes: prune=0.1 keeps perplexity within 0.02 nats (gains 0.1; test: gains 0.1) at 0.95× the bytes; "
        "0.5 loses 0.3"
    )


def test_details_of_the_saturation_point(runs):
    frame = runs.assign(
        accuracy_top5=[0.97, 0.99, 0.99, 0.985],
        accuracy_worst_class=[0.5, 0.95, 0.94, 0.912],
        calibration_error=[0.1, 0.008, 0.008, 0.012],
    )
    assert detail_sentences(frame, cost="size_bytes") == [
        "at prune=0.5: top-5 accuracy 98.5 % (reference 99.0 %), worst class 91.2 % (95.0 %), "
        "calibration error 1.2 points (0.8)"
    ]
    assert detail_sentences(frame.drop(columns=["accuracy_top5", "accuracy_worst_class"]), cost="size_bytes") == [
        "at prune=0.5: calibration error 1.2 points (reference 0.8)"
    ]


def test_details_are_only_of_what_is_there(runs, language):
    assert detail_sentences(runs, cost="size_bytes") == []
    frame = runs.assign(calibration_error=[0.1, np.nan, 0.008, 0.012])
    assert detail_sentences(frame, cost="size_bytes") == []
    known = runs.assign(calibration_error=0.01)
    assert detail_sentences(known, cost="size_bytes", tolerance=0.1) == []  # not reached
    assert detail_sentences(known[known["prune"].isin([0.0, 0.9])], cost="size_bytes") == []  # it is the reference
    extra = language.assign(bits_per_byte=[1.5, 1.1, 1.1, 1.125])
    extra.attrs["extra_qualities"] = ["bits_per_byte"]
    assert detail_sentences(extra, cost="size_bytes", tolerance=0.5) == [
        "at prune=0.5: bits per byte 1.125 (reference 1.1)"
    ]


def test_a_seed_that_failed_is_said_and_makes_nothing_better(lucky):
    # Alone, the mean of prune=0.9 over its two good seeds is 0.93, one point below that of the reference.
    sentence = saturation_sentence(lucky, cost="size_bytes")
    assert sentence == (
        "size_bytes: prune=0.5 keeps accuracy within 2 points (loses 1.0; test: loses 1.0) at 0.5× the bytes; "
        "0.9 (2 of 3 seeds) loses 3.0"
    )
    chosen = saturation_sentence(lucky, cost="size_bytes", tolerance=0.03)
    assert "not reached: the cheapest, prune=0.9 (2 of 3 seeds), at 0.1× the bytes, loses 3.0 points" in chosen


def test_points_of_which_nothing_is_left_are_named(lucky):
    lucky.attrs["failed"] = [
        {"point": "prune=0.99", "seed": 0},
        {"point": "prune=0.99", "seed": 1},
        {"point": "prune=0.99", "seed": 2},
        {"point": "model=other, prune=0.999", "seed": 0},
    ]
    frame = lucky[lucky["point"] != "prune=0.5"]
    sentence = saturation_sentence(frame, cost="size_bytes", tolerance=0.1)
    assert sentence.endswith("still within 10; prune=0.99, model=other, prune=0.999 failed")
    swept = frame.assign(point="model=lenet_5, " + frame["point"])
    swept.attrs["failed"] = [
        {"point": "model=lenet_5, prune=0.99", "seed": 0},
        {"point": "model=other, prune=0.999", "seed": 0},
    ]
    sentence = saturation_sentence(swept, cost="size_bytes")
    assert sentence.endswith("already prune=0.9 (2 of 3 seeds) loses 3.0 points; prune=0.99 failed")
    frame.attrs["failed"] = [{"point": f"prune=0.99{digit}", "seed": 0} for digit in range(4)]
    assert saturation_sentence(frame, cost="size_bytes").endswith("; 4 points failed")


def test_a_point_without_a_seed_of_its_reference_is_not_compared(lucky):
    frame = lucky[~lucky["run_key"].isin(["reference/0", "reference/2"])]
    sentence = saturation_sentence(frame, cost="size_bytes")
    assert sentence == (
        "size_bytes: not reached: the cheapest, prune=0.5 (1 of 3 seeds), at 0.5× the bytes, loses 1.0 points "
        "(test: loses 1.0): still within 2; sweep further; "
        "prune=0.9 not compared: its reference has no run with a seed of its own"
    )


def test_a_reference_that_failed_gives_no_answer(lucky):
    sentence = saturation_sentence(lucky[~lucky["reference"]], cost="size_bytes")
    assert sentence == "size_bytes: the reference is not among the runs: it failed, or was left out"


def test_who_stands_in_as_the_reference_is_said(runs):
    sentence = saturation_sentence(runs[~runs["reference"]], cost="size_bytes")
    assert sentence.endswith("; no row is marked as the reference: prune=0.1, the most expensive, stands in")


@pytest.mark.parametrize(
    ("seeds", "covered"),
    [([0], "examples only, 1 seed"), ([0, 1, 2], "3 seeds"), (None, "examples only, seeds unknown")],
)
def test_what_an_interval_covers_is_said(seeds, covered):
    generator = np.random.default_rng(0)
    accuracies = [0.9, 0.88, 0.89][: len(seeds or [0, 1])]
    frame = runs_of([("reference", 100, 0.9), ("a=1", 50, accuracies), ("a=2", 20, 0.5)], seeds=seeds or [0, 1])
    correct = {
        key: generator.permutation(np.arange(100) < 100 * value)
        for key, value in zip(frame["run_key"], frame["accuracy_val"], strict=True)
    }
    if seeds is None:
        frame = frame.drop(columns=["seed", "reference_key"])
    sentence = saturation_sentence(frame, cost="size_bytes", counts=Counts.of_correct(correct))
    assert f"at 0.5× the bytes (95 %, {covered}: 0.5× to 1×)" in sentence
    part = frame.drop(index=frame.index[-1])
    if seeds == [0, 1, 2]:
        sentence = saturation_sentence(part, cost="size_bytes", counts=Counts.of_correct(correct))
        assert "(95 %, 2 to 3 seeds: " in sentence


def test_a_sentence_has_one_line_and_the_loss_on_test_of_the_same_seeds(lucky):
    frame = lucky.assign(accuracy=[0.95, 0.5, 0.95, 0.94, 0.5, 0.94, 0.96, 0.96])
    sentence = saturation_sentence(frame, cost="size_bytes", tolerance=0.035)
    assert "loses 3.0 points (test: gains 1.0)" in sentence and "\n" not in sentence
    unmeasured = frame.assign(accuracy=[0.95, 0.5, None, 0.94, 0.5, 0.94, 0.96, 0.96])
    assert "test" not in saturation_sentence(unmeasured, cost="size_bytes")


def test_a_change_of_nothing_is_a_loss_of_nothing(runs):
    sentence = saturation_sentence(runs.assign(accuracy_val=[0.5, 0.96, 0.96, 0.96001]), cost="size_bytes")
    assert "(loses 0.0; test: loses 0.9)" in sentence


def test_networks_without_a_reference_are_compared_with_the_most_accurate():
    points = [("tiny", 10, 0.70), ("small", 30, 0.915), ("middle", 90, 0.91), ("large", 300, 0.93)]
    frame = pd.concat(
        [runs_of([("reference", size, value)], seeds=(0,), model=model) for model, size, value in points]
    ).assign(run_key=list("abcd"), reference_key=list("abcd"))
    assert saturation_sentence(frame, cost="size_bytes") == (
        "size_bytes (no reference): small keeps accuracy within 2 points of the most accurate, large (loses 1.5; "
        "test: loses 1.5), at 0.1× its bytes; tiny loses 23.0"
    )
    assert saturation_sentence(frame, cost="size_bytes", tolerance=0.01) == (
        "size_bytes (no reference): nothing cheaper is within 1 point of the most accurate, large: already small "
        "loses 1.5 points"
    )
    assert saturation_sentence(frame, cost="size_bytes", tolerance=0.3).endswith(
        "at 0.033× its bytes; nothing is cheaper"
    )
    cheap = frame.assign(size_bytes=[10, 30, 90, 5])
    assert saturation_sentence(cheap, cost="size_bytes") == (
        "size_bytes (no reference): large is the most accurate and the cheapest"
    )
    labelled = frame.assign(point=[f"model={model}, reference" for model in frame["model"]])
    assert saturation_sentence(labelled, cost="size_bytes").startswith("size_bytes (no reference): model=small keeps")
    assert detail_sentences(frame, cost="size_bytes") == [
        "on the front of file size, from the cheapest: tiny, small, large"
    ]


def test_each_point_is_told_beside_its_own_reference():
    weak = runs_of(
        [("recipe=b, reference", 95, 0.85), ("recipe=b, prune=0.9", 10, 0.845)], reference="recipe=b, reference"
    )
    strong = runs_of(
        [("recipe=a, reference", 99, 0.95), ("recipe=a, prune=0.9", 12, 0.90)], reference="recipe=a, reference"
    )
    frame = pd.concat([strong, weak])
    assert saturation_sentence(frame, cost="size_bytes") == (
        "size_bytes: not reached: the cheapest, recipe=b, prune=0.9, at 0.11× the bytes, loses 0.5 points (test: loses "
        "0.5): still within 2; sweep further; its reference has 85.0 %, recipe=a, reference 95.0 %"
    )
    worse = frame.assign(accuracy_val=frame["accuracy_val"] - 0.05 * frame["point"].str.endswith("b, prune=0.9"))
    assert saturation_sentence(worse, cost="size_bytes") == (
        "size_bytes: nothing cheaper than its reference stays within 2 points: already recipe=a, prune=0.9 loses 5.0 "
        "points"
    )


def test_controls_are_told_beside_the_answer(lucky):
    control = runs_of([("distill=0.9", 99_000, [0.97, 0.91, 0.96])]).assign(control=True)
    frame = pd.concat([lucky.assign(control=False), control])
    assert saturation_sentence(frame, cost="size_bytes") == saturation_sentence(lucky, cost="size_bytes")
    assert detail_sentences(frame, cost="size_bytes") == ["with distill alone, uncompressed: gains 0.7 points"]
    another = runs_of([("distill=0.5", 99_000, [None, 0.89, 0.95])]).assign(control=True)
    assert detail_sentences(pd.concat([frame, another]), cost="size_bytes") == [
        "alone, uncompressed: distill=0.5 (2 of 3 seeds) loses 1.0, distill=0.9 gains 0.7"
    ]


def test_details_are_of_the_seeds_of_both(lucky):
    frame = lucky.assign(calibration_error=[0.01, 0.5, 0.01, 0.01, 0.4, 0.01, 0.02, 0.02])
    below = pd.concat([frame, runs_of([("prune=0.99", 1000, 0.5)])])
    assert detail_sentences(below, cost="size_bytes", tolerance=0.035) == [
        "at prune=0.9 (2 of 3 seeds): calibration error 2.0 points (reference 1.0)"
    ]


@pytest.mark.extended
def test_a_network_is_not_repeated_wherever_it_stands_in_labels(runs):
    both = pd.concat(
        [runs.assign(model=name, point=f"coder=ans, model={name}, " + runs["point"]) for name in ("a", "b")]
    )
    both.attrs["failed"] = [{"point": "coder=ans, model=b, prune=0.99", "seed": 0, "model": "b"}]
    first, second = (one for one in answers(both) if one.cost == "size_bytes")
    assert first.sentence.startswith("model=a, size_bytes: coder=ans, prune=0.5 keeps")
    assert "failed" not in first.sentence
    assert second.sentence.endswith("; coder=ans, prune=0.99 failed")


@pytest.mark.extended
def test_a_control_says_how_many_of_its_seeds_failed(seeded):
    control = seeded[seeded["reference"] & (seeded["seed"] < 2)].assign(
        point="distill=0.5", reference=False, control=True, accuracy_val=0.97
    )
    frame = pd.concat([seeded.assign(control=False), control])
    frame.attrs["failed"] = [{"point": "distill=0.5", "seed": 2, "control": True}]
    assert not any("failed" in one.sentence for one in answers(frame))
    (line,) = (line for one in answers(frame) for line in one.details if "alone" in line)
    assert line.startswith("with distill alone (2 of 3 seeds), uncompressed: gains")
