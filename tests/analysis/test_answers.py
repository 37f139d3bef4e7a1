import numpy as np
import pandas as pd
import pytest

from effbench.analysis import Counts, answers, saturation_sentence
from tests.analysis.conftest import runs_of


@pytest.fixture
def two(runs):
    """Two networks; the second loses more and moves its multiply-adds too."""
    other = runs.assign(model="lenet_5", accuracy_val=[0.5, 0.96, 0.961, 0.93], macs=[1_000_000, 2_000_000] * 2)
    frame = pd.concat([runs, other], ignore_index=True)
    return frame.assign(point="model=" + frame["model"] + ", " + frame["point"])


def test_each_group_answers_on_each_cost_that_it_moves(two):
    found = answers(two)
    assert [(answer.group, answer.cost) for answer in found] == [
        ("model=lenet_5", "size_bytes"),
        ("model=lenet_5", "macs_effective"),
        ("model=lenet_5", "macs"),
        ("model=small_cnn", "size_bytes"),
        ("model=small_cnn", "macs_effective"),
    ]
    assert found[0].sentence == (
        "model=lenet_5, size_bytes: prune=0.1 keeps accuracy within 2 points (gains 0.1; test: loses 0.2) at 0.95× the "
        "bytes; 0.5 loses 3.0"
    )
    assert found[3].saturation.point["point"] == "model=small_cnn, prune=0.5"
    assert set(found[3].runs["model"]) == {"small_cnn"}


def test_one_group_goes_without_its_name(runs):
    (first, second) = answers(runs, tolerance=0.01)
    assert (first.group, first.sentence) == ("", saturation_sentence(runs, cost="size_bytes", tolerance=0.01))
    assert second.cost == "macs_effective" and second.details == ()


def test_details_stand_with_the_first_cost_of_a_group(two):
    found = answers(two.assign(calibration_error=0.01))
    assert [answer.details for answer in found[:2]] == [
        (
            "model=lenet_5: at prune=0.1: calibration error 1.0 points (reference 1.0)",
            "model=lenet_5: by other definitions other points: prune=0.5 at 0.43× its bytes "
            "(kneedle, kneedle over log cost)",
        ),
        (),
    ]


def test_intervals_are_of_the_groups_own_examples(lucky):
    keys = lucky["run_key"]
    correct = {k: np.arange(100) < round(100 * q) for k, q in zip(keys, lucky["accuracy_val"], strict=True)}
    other = lucky.assign(data="mnist", run_key="other " + keys, reference_key="other " + lucky["reference_key"])
    correct |= {f"other {key}": np.repeat(right, 2) for key, right in correct.items()}
    found = answers(pd.concat([lucky.assign(data="digits"), other]), counts=Counts.of_correct(correct))
    assert [answer.group for answer in found] == ["data=digits", "data=mnist"]
    assert all("(95 %, 2 to 3 seeds: " in answer.sentence for answer in found)


def test_a_group_in_which_nothing_varies_says_so(two, runs):
    lost = two[(two["model"] == "lenet_5") | two["reference"]]
    lost.attrs["axes"] = ["prune"]
    last = answers(lost)[-1]
    assert (last.group, last.cost, last.saturation) == ("model=small_cnn", None, None)
    assert last.sentence == (
        "model=small_cnn: no cost varies over these runs: there is one point; sweep an axis, as in +prune=0.1,0.5,0.9"
    )
    (same,) = answers(runs.assign(size_bytes=100, macs_effective=100))
    assert same.sentence == ("no cost varies over these runs by more than it jitters (2 % of bytes and multiply-adds)")
    assert answers(runs.iloc[:0]) == []


def test_an_axis_that_moves_no_cost_has_no_answer():
    frame = runs_of([("reference", 100, 0.9), ("distill=0.9", 90, 0.92)])
    frame.attrs["moves"] = {"distill": []}
    (answer,) = answers(frame)
    assert answer.sentence == "no cost varies over these runs: distill moves none; sweep another axis beside it"


def test_networks_alone_have_one_answer():
    models = (("a", 100, 0.95), ("b", 30, 0.94))
    frame = pd.concat([runs_of([("reference", s, q)], model=m, seeds=(0,)) for m, s, q in models])
    (answer,) = answers(frame.assign(run_key=["x", "y"], reference_key=["x", "y"]))
    assert answer.sentence.startswith(
        "size_bytes (no reference): b keeps accuracy within 2 points of the most accurate, a"
    )
    assert answer.details == ("on the front of file size, from the cheapest: b, a",)


def test_of_several_axes_it_is_said_what_the_joint_front_owes_to_each():
    points = [
        ("reference", 400, 0.96),
        ("prune=0.5", 200, 0.95),
        ("bits=8", 100, 0.96),
        ("prune=0.5, bits=8", 50, 0.95),
    ]
    (answer,) = answers(runs_of(points, seeds=(0,)))
    assert answer.details[-1] == "without bits the joint front would lose 69 % of its area (1 seed), without prune 31 %"
    (single,) = answers(runs_of(points[:2], seeds=(0,)))
    assert not any("joint" in line for line in single.details)


@pytest.mark.extended
def test_prices_are_by_cost_and_the_tolerance_is_for_all_definitions():
    points = [("reference", 800, 0.96), ("a=1", 400, 0.955), ("a=2", 200, 0.92), ("a=3", 100, 0.6)]
    frame = runs_of(points, seeds=(0,)).assign(macs=[80.0, 40.0, 20.0, 10.0])
    (answer,) = answers(frame, method="price", price={"size_bytes": 100.0})
    assert answer.cost == "size_bytes" and answer.saturation.point["point"] == "a=1"
    assert "where a point is worth 100 bytes" in answer.sentence
    assert [one.cost for one in answers(frame, method="price", price={"macs": 1.0, "size_bytes": 1.0})] == [
        "size_bytes",
        "macs",
    ]
    with pytest.raises(ValueError, match="price: there is none of size_bytes, macs; given: energy"):
        answers(frame, method="price", price={"energy": 1.0})
    for tolerance, label in ((0.02, "a=1"), (0.05, "a=2")):
        (first, _) = answers(frame, method="kneedle", tolerance=tolerance)
        assert dict(first.definitions)["tolerance"].point["point"] == label
