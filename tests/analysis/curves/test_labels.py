import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.analysis.curves.curve import curve_of
from effbench.analysis.curves.labels import (
    group_parts,
    has_parts,
    label_axes,
    point_labels,
    shared_groups,
    short_label,
    without_parts,
    without_reference,
)


def test_axis_columns_name_rows_without_labels(runs):
    curve = curve_of(runs.drop(columns="point"), cost="size_bytes", quality="accuracy_val")
    assert curve.labels == ["prune=0.9", "prune=0.5", "prune=0.1", "prune=0"]


def test_too_many_columns_to_name_a_row_leave_its_cost():
    frame = pd.DataFrame({"size_bytes": [1, 2], "accuracy_val": [0.1, 0.2], **{name: [0, 1] for name in "abcd"}})
    assert curve_of(frame, cost="size_bytes", quality="accuracy_val").labels == ["size_bytes=1", "size_bytes=2"]


def test_a_model_in_the_label_is_not_repeated(runs):
    frame = pd.concat(
        [runs.assign(point="model=" + runs["model"] + ", " + runs["point"]), runs.assign(model="lenet_5")]
    )
    labels = point_labels(frame, cost="size_bytes", quality="accuracy_val")
    assert "model=small_cnn, prune=0.5" in labels and "prune=0.5 (lenet_5)" in labels


def test_what_all_labels_of_a_group_share_is_found_wherever_it_stands():
    labels = ["coder=ans, model=a, data=b, prune=0.5", "coder=huffman, model=a, data=b, reference"]
    assert shared_groups(labels) == ["model=a", "data=b"]
    assert shared_groups([*labels, "model=a, data=c, reference"]) == ["model=a"]
    assert shared_groups(["model=a, prune=0.5", "model=ab, prune=0.5"]) == []
    assert shared_groups(["prune=0.5", "prune=0.9"]) == shared_groups([]) == []
    assert shared_groups(["model.channels=[4, 8], prune=0.5"]) == ["model.channels=[4, 8]"]


@pytest.mark.parametrize(
    ("label", "short"),
    [
        ("model=a, prune=0.5", "prune=0.5"),
        ("coder=ans, model=a, reference", "coder=ans, reference"),
        ("coder=ans, model=a", "coder=ans"),
        ("model=ab, prune=0.5", "model=ab, prune=0.5"),
        ("submodel=a, prune=0.5", "submodel=a, prune=0.5"),
    ],
)
def test_a_part_is_left_out_where_it_is_a_whole_one(label, short):
    assert without_parts(label, ["model=a"]) == short
    assert has_parts(label, ["model=a"]) == (short != label)


def test_a_label_says_the_options_of_its_network_too():
    assert group_parts("model._target_=a.net, coder=ans, data.side=28, reference") == {
        "model._target_": "a.net",
        "data.side": "28",
    }
    assert group_parts("prune=0.5") == {}


def test_a_group_is_not_named_in_its_labels(runs):
    frame = runs.assign(point="model=small_cnn, " + runs["point"])
    assert curve_of(frame, cost="size_bytes").labels == ["prune=0.9", "prune=0.5", "prune=0.1", "reference"]


def test_the_label_of_what_is_nobodys_reference():
    assert without_reference("model=a, coder=ans, reference") == "model=a, coder=ans"
    assert without_reference("reference") == "reference"
    assert without_reference("prune=0.5 (a)") == "prune=0.5 (a)"


def test_labels_split_into_axes():
    assert label_axes("prune=0.5, bits=4") == {"prune": "0.5", "bits": "4"}
    assert label_axes("") == {}


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,5}", fullmatch=True),
        st.from_regex(r"[0-9.a-z\[\]]{1,6}", fullmatch=True),
        min_size=1,
        max_size=4,
    )
)
def test_what_was_joined_is_split_again(axes):
    assert label_axes(", ".join(f"{name}={value}" for name, value in axes.items())) == axes


def test_a_label_is_short_only_after_one_of_the_same_axis():
    assert short_label("prune=0.9", after="prune=0.5") == "0.9"
    assert short_label("prune=0.9", after="reference") == "prune=0.9"
    assert short_label("prune=0.9, bits=4", after="prune=0.5, bits=4") == "prune=0.9, bits=4"


def test_neither_metrics_nor_what_says_what_the_quality_is_name_a_row(segmented):
    points = segmented.drop(columns="point").assign(boundary_iou=[1, 2, 3, 4], quality_chance=[0.1, 0.2, 0.3, 0.4])
    points.attrs["extra_qualities"] = ("boundary_iou",)
    expected = ["prune=0.9", "prune=0", "prune=0.1", "prune=0.5"]
    assert point_labels(points, cost="size_bytes", quality="miou_val") == expected
    curve = curve_of(points, cost="size_bytes")
    assert curve.labels == ["prune=0.9", "prune=0.5", "prune=0.1", "prune=0"]
