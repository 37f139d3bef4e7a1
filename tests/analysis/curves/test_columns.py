import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.analysis.curves.columns import (
    codes_of,
    finite_numbers,
    metric_columns,
    parse_numbers,
    quality_names,
    read_flags,
    row_name,
)


def test_flags_are_read_from_text():
    frame = pd.DataFrame({"reference": pd.Series([True, "false", "True", None, 0, "1.0", ""], dtype=object)})
    assert read_flags(frame, "reference").tolist() == [True, False, True, False, False, True, False]
    with pytest.raises(ValueError, match="reference is 'maybe' in row 0"):
        read_flags(pd.DataFrame({"reference": ["maybe"]}), "reference")


def test_numbers_are_read_from_nullable_columns():
    assert parse_numbers(pd.Series([1, None], dtype="Int64")).tolist()[0] == 1.0
    assert parse_numbers(pd.Series([True, False])) is None


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), min_size=1, max_size=20))
def test_numbers_survive_being_written_as_text(values):
    text = pd.Series([None if value is None else repr(value) for value in values], dtype=object)
    expected = [np.nan if value is None else value for value in values]
    assert np.array_equal(parse_numbers(text), expected, equal_nan=True)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20))
def test_codes_are_equal_and_ordered_as_numbers_are(values):
    codes = codes_of(pd.Series(values))
    for first, first_code in zip(values, codes, strict=True):
        for second, second_code in zip(values, codes, strict=True):
            assert (first < second) == (first_code < second_code)


def test_metric_columns_are_those_of_the_quality_of_its_extras_and_of_costs(segmented):
    names = ["seed", "miou", "miou_val", "miou_worst_class", "mioufoo", "boundary_iou", "macs", "calibration_error"]
    frame = pd.DataFrame(columns=[*names, "accuracy"]).assign(quality_name=pd.Series(dtype=object))
    frame.loc[0, "quality_name"] = "miou"
    measured = ["miou", "miou_val", "miou_worst_class", "macs", "calibration_error"]
    assert metric_columns(frame) == measured
    frame.attrs["extra_qualities"] = ("boundary_iou",)
    assert metric_columns(frame) == [*measured[:3], "boundary_iou", *measured[3:]]
    assert "accuracy" in metric_columns(frame.drop(columns="quality_name"))
    assert {"miou", "miou_val", "size_bytes"} <= set(metric_columns(segmented))
    assert "prune" not in metric_columns(segmented) and "quality_name" not in metric_columns(segmented)


def test_names_of_qualities_are_those_given():
    assert quality_names(pd.DataFrame({"quality_name": ["b", "", None, "a", "b"]})) == ["a", "b"]
    assert quality_names(pd.DataFrame({"accuracy": [1]})) == []


def test_a_row_is_named_as_its_user_knows_it():
    frame = pd.DataFrame({"point": ["prune=0.5", "reference"], "macs": [1.0, np.inf]}, index=[7, 9])
    assert row_name(frame, 1) == "row 9 (reference)"
    with pytest.raises(ValueError, match=r"macs is inf in row 9 \(reference\)"):
        finite_numbers(frame, "macs")
    assert row_name(frame.drop(columns="point"), 0) == "row 7"
