import pandas as pd
import pytest

from effbench.analysis import saturation_point, split_groups
from effbench.analysis.curves.groups import (
    failed_seeds,
    has_axis,
    marked_references,
    reference_keys,
    seed_name,
    select_group,
)


@pytest.fixture
def two(runs):
    return pd.concat([runs, runs.assign(model="lenet_5")], ignore_index=True)


def test_networks_data_sets_and_tasks_are_groups_of_their_own(runs, two):
    assert list(split_groups(runs)) == [""]
    assert {name: len(group) for name, group in split_groups(two).items()} == {"model=lenet_5": 4, "model=small_cnn": 4}
    four = pd.concat([two, two.assign(data="mnist", task="other")])
    assert next(iter(split_groups(four))) == "model=lenet_5, data=digits, task=nan"
    assert len(split_groups(four)) == 4


def test_recipes_stages_and_coders_share_a_group(two):
    frame = two.assign(model="small_cnn", recipe=list("abcdefgh"), coder=["huffman", "context"] * 4)
    assert list(split_groups(frame)) == [""]


def test_without_an_axis_networks_are_compared_with_each_other(two):
    alone = two[two["reference"]]
    assert list(split_groups(alone)) == [""]
    assert list(split_groups(pd.concat([alone, alone.assign(data="mnist")]))) == ["data=digits", "data=mnist"]
    for said in ({"axes": ["prune"]}, {"moves": {"prune": ["size_bytes"]}}):
        swept = alone.copy()  # every compressed run failed
        swept.attrs.update(said)
        assert list(split_groups(swept)) == ["model=lenet_5", "model=small_cnn"]


def test_groups_keep_what_the_frame_says_beside_its_columns(two):
    two.attrs["failed"] = [{"point": "prune=0.5", "seed": 1}]
    assert all(group.attrs == two.attrs for group in split_groups(two).values())


def test_a_group_is_selected_by_its_network(two):
    assert set(select_group(two, model="lenet_5")["model"]) == {"lenet_5"}
    with pytest.raises(ValueError, match=r"2 groups, .* \(model=lenet_5; model=small_cnn\): choose with model="):
        select_group(two)
    with pytest.raises(ValueError, match=r"model='alexnet': the frame has lenet_5, small_cnn"):
        select_group(two, model="alexnet")
    with pytest.raises(ValueError, match="the frame has no column model"):
        select_group(two.drop(columns="model"), model="lenet_5")
    mixed = pd.concat([two, two.assign(data="mnist")])
    with pytest.raises(ValueError, match=r"\(data=digits; data=mnist\): select the rows of one"):
        select_group(mixed, model="lenet_5")


@pytest.mark.parametrize(
    ("columns", "swept"),
    [
        ({"reference": [True, False]}, True),
        ({"reference": [True, True]}, False),
        ({"point": ["reference", "prune=0.5"]}, True),
        ({"run_key": ["a", "b"], "reference_key": ["a", "a"]}, True),
        ({"run_key": ["a", "b"], "reference_key": ["a", "b"]}, False),
        ({"run_key": ["a", "b"], "reference_key": ["c", "c"]}, True),  # the reference failed
        ({"run_key": ["a", "b"], "reference_key": [None, ""]}, False),
        ({"cost": [1, 2]}, True),
        ({"model": ["a", "b"]}, False),
        ({"model": ["a", "a"]}, True),
        ({"model": ["a", "a"], "point": ["x", "x"]}, False),
    ],
)
def test_whether_an_axis_was_swept(columns, swept):
    assert has_axis(pd.DataFrame(columns)) is swept


def test_references_are_marked_by_flag_or_key_or_label():
    frame = pd.DataFrame({"point": ["coder=ans, reference", "coder=ans, prune=0.5", "my reference"]})
    assert marked_references(frame).tolist() == [True, False, False]
    keyed = frame.assign(run_key=list("abc"), reference_key=list("bbb"))
    assert marked_references(keyed).tolist() == [False, True, False]
    assert marked_references(keyed.assign(reference=["false", "false", "true"])).tolist() == [False, False, True]


def test_keys_of_references_are_known_or_not():
    assert reference_keys(pd.DataFrame({"reference_key": ["a"]})) is None
    assert reference_keys(pd.DataFrame({"run_key": ["a"], "reference_key": [""]})) is None
    assert reference_keys(pd.DataFrame({"run_key": ["a", "b"], "reference_key": ["a", None]})) == ["a", None]


def test_failed_seeds_are_read_as_text():
    frame = pd.DataFrame({"seed": [0]})
    assert failed_seeds(frame) == {}
    frame.attrs["failed"] = [
        {"point": "prune=0.5", "seed": 1},
        {"point": "prune=0.5", "seed": 2.0},
        {"point": "prune=0.5", "seed": "3"},
    ]
    assert failed_seeds(frame) == {"prune=0.5": {"1", "2", "3"}}
    assert seed_name(10) == "10"


def test_the_reference_of_another_group_never_changes_an_answer(runs):
    alone = saturation_point(runs)
    for accuracy, size in ((0.5, 10), (0.999, 10**9)):
        other = runs.assign(model="other", accuracy_val=accuracy, size_bytes=size)
        answer = saturation_point(pd.concat([other, runs]), model="small_cnn")
        assert (answer.reason, answer.point["point"]) == (alone.reason, alone.point["point"])


def test_networks_of_one_name_are_told_apart_by_their_labels(runs):
    frame = pd.concat(
        [runs.assign(point=f"coder=ans, model._target_={name}.net, " + runs["point"]) for name in ("one", "other")]
    )
    assert list(split_groups(frame)) == ["model._target_=one.net", "model._target_=other.net"]
    references = frame[frame["reference"]]
    assert list(split_groups(references)) == [""]


def test_failed_runs_are_those_of_their_own_group(two):
    two.attrs["failed"] = [
        {"point": "prune=0.5", "seed": 1, "model": "lenet_5", "data": "digits"},
        {"point": "prune=0.9", "seed": 0, "model": "lenet_5", "control": True},
        {"point": "prune=0.9", "seed": 2},
    ]
    groups = split_groups(two)
    own, other = groups["model=lenet_5"], groups["model=small_cnn"]
    assert failed_seeds(own) == {"prune=0.5": {"1"}, "prune=0.9": {"2"}}
    assert failed_seeds(other) == {"prune=0.9": {"2"}}
    assert failed_seeds(own, controls=True) == {"prune=0.9": {"0"}}
    assert failed_seeds(other, controls=True) == {}
