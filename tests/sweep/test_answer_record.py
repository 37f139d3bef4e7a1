"""What came out as data: every run, every answer with its point and interval."""

import json

import pandas as pd

from effbench.analysis import answers
from effbench.sweep.answer_record import answer_record
from tests.analysis.conftest import runs_of


def record(frame):
    found = answers(frame)
    made = answer_record(frame, found, sweep_id="abc", tolerance=0.02)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    return made, found


def test_runs_and_answers_are_there():
    made, found = record(runs_of([("reference", 900, 0.9), ("prune=0.5", 500, 0.89), ("prune=0.9", 200, 0.5)]))
    assert len(made["runs"]) == 9 and made["runs"][0]["size_bytes"] == 900
    (answer,) = made["answers"]
    assert answer["point"] == {"point": "prune=0.5", "size_bytes": 500.0, "accuracy_val": 0.89, "accuracy": 0.88}
    assert answer["sentence"] == found[0].sentence and answer["interval_95"] is None
    assert (made["sweep"], made["tolerance"], made["quality"]["name"]) == ("abc", 0.02, "accuracy")


def test_where_nothing_was_found_it_is_null_with_a_reason():
    made, _ = record(runs_of([("reference", 900, 0.9), ("prune=0.5", 500, 0.9)]))
    assert made["answers"][0]["point"] is None and "not reached" in made["answers"][0]["reason"]
    alone, _ = record(runs_of([("reference", 900, 0.9)]))
    assert alone["answers"][0]["point"] is None and "one point" in alone["answers"][0]["reason"]
    nothing = answer_record(pd.DataFrame(), [], sweep_id="abc", tolerance=0.02)
    assert (nothing["runs"], nothing["answers"], nothing["quality"]) == ([], [], None)


def test_each_network_has_its_answer_by_name():
    both = pd.concat([runs_of([("reference", 9, 0.9), ("p=1", 5, 0.9)], model=m) for m in "ab"], ignore_index=True)
    both["run_key"], both["reference_key"] = both["model"] + both["run_key"], both["model"] + both["reference_key"]
    made, _ = record(both)
    assert [answer["group"] for answer in made["answers"]] == ["model=a", "model=b"]
