"""What stages find: of equal metrics the last, of peaks the largest, of tables the last; and as plain data."""

import json

from effbench.plan.findings import Findings


def test_peaks_are_the_largest_and_metrics_and_tables_the_last():
    one, other = Findings(), Findings()
    one.note_peak("a", 2.0)
    one.note_peak("a", 1.0)
    one.note("m", 1.0)
    one.note("m", 0.5)
    one.add_table("t", [{"x": 1}])
    assert other.is_empty
    other.note_peak("a", 3.0)
    other.note_peak("b", -1.0)
    other.note("m", 0.25)
    other.note("n", 0.0)
    other.add_table("t", ({"x": 2},))
    one.take_over(other)
    assert one == Findings(metrics={"m": 0.25, "n": 0.0}, peaks={"a": 3.0, "b": -1.0}, tables={"t": [{"x": 2}]})


def test_each_kind_makes_them_more_than_empty():
    for note in (
        lambda found: found.note("m", 0.0),
        lambda found: found.note_peak("p", 0.0),
        lambda found: found.add_table("t", []),
    ):
        found = Findings()
        note(found)
        assert not found.is_empty


def test_come_back_from_plain_data():
    found = Findings(metrics={"m": 0.1}, peaks={"p": 2.0}, tables={"t": [{"x": 1, "y": "a", "z": True}]})
    assert Findings.from_plain(json.loads(json.dumps(found.to_plain()))) == found


def test_a_table_is_a_copy():
    row = {"x": 1}
    found = Findings()
    found.add_table("t", [row])
    row["x"] = 2
    assert found.tables["t"] == [{"x": 1}]


def test_what_steps_took_and_their_curves_come_along_and_decide_nothing():
    one, other = Findings(), Findings()
    one.spent.note("train", seconds=1.0, macs=2)
    one.curves["train"] = [{"epoch": 1}]
    other.spent.note("finetune", seconds=1.0, macs=3)
    other.curves["finetune"] = [{"epoch": 2}]
    assert one == other and one.is_empty
    for _ in range(2):
        one.take_over(other)
    assert one.spent.metrics["train_macs"] == 5
    assert list(one.curves) == ["train", "finetune"]
    back = Findings.from_plain(json.loads(json.dumps(one.to_plain())))
    assert (back.spent, back.curves) == (one.spent, one.curves)


def test_those_of_an_earlier_version_have_neither():
    plain = {name: {} for name in ("metrics", "words", "peaks", "tables")}
    found = Findings.from_plain(plain)
    assert found == Findings()
    assert (found.curves, found.spent.metrics) == ({}, {})
