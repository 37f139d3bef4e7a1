"""Answers as documents: nothing in a name breaks them, does something to a terminal or tells a password."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

from effbench.sweep.documents import answer_document, csv_text, json_text, markdown, plan_document, records_of, strict
from tests.sweep.test_printout import printout, table

HOSTILE = "a|b\x1b[31m\r\n\u202e<script>\"',http://me:hunter2@there"


@pytest.mark.parametrize("form", ["csv", "json", "markdown"])
def test_hostile_names_do_nothing(form):
    hostile = table(**{HOSTILE: [HOSTILE, "x"]})
    hostile.attrs = table().attrs
    text = answer_document(printout(table=hostile, lines=[HOSTILE], failures={HOSTILE: HOSTILE}, command=HOSTILE), form)
    assert not set("\x1b\r\u202e") & set(text) and "hunter2" not in text
    if form == "csv":
        assert [len(row) for row in csv.reader(io.StringIO(text))] == [3, 3, 3]
    elif form == "json":
        assert len(json.loads(text)["points"]) == 2
    else:
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert {line.replace("\\|", "").count("|") for line in rows} == {4}
        assert "<script>" not in text.partition("\n")[2]  # the first line is code


def test_what_is_no_finite_number_is_null():
    frame = pd.DataFrame(
        {"a": [np.nan, np.inf, 1.5], "b": [1, 2, 3], "c": [True, False, True], "d": [None, pd.NaT, "x"]}
    )
    assert records_of(frame) == [
        {"a": None, "b": 1, "c": True, "d": None},
        {"a": None, "b": 2, "c": False, "d": None},
        {"a": 1.5, "b": 3, "c": True, "d": "x"},
    ]
    assert json.loads(json_text({"x": strict({"y": (np.float32(0.5), np.bool_(True), {1})})})) == {
        "x": {"y": [0.5, True, [1]]}
    }


def test_csv_keeps_every_digit_and_leaves_out_what_is_not_there():
    frame = pd.DataFrame({"size_bytes": [1 / 3, 123_456_789_012.0], "x": [np.nan, "a,b"]})
    again = pd.read_csv(io.StringIO(csv_text(frame)))
    pd.testing.assert_frame_equal(again, frame)


def test_a_plan_is_a_document_too():
    plan = pd.DataFrame({"point": ["reference", "prune=0.5"], "seed": [0, 0], "prune": [0.0, np.nan]})
    assert plan_document(plan, "csv") == "point,seed,prune\nreference,0,0.0\nprune=0.5,0,\n"
    assert json.loads(plan_document(plan, "json"))["runs"][1] == {"point": "prune=0.5", "seed": 0, "prune": None}
    assert plan_document(plan, "markdown").splitlines()[2:] == ["| reference | 0 | 0 |", "| prune=0.5 | 0 |  |"]


def test_markdown_tells_of_failures():
    text = markdown(printout(failures={"prune=0.5, seed=0": "ValueError: no"}, unmeasured=["latency: no"]))
    assert "- failed: prune=0.5, seed=0: ValueError: no\n" in text and "- latency: no\n" in text
