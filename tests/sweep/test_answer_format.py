"""--format: stdout holds the document and nothing else; what is no format is told in a line."""

import csv
import io
import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from effbench.sweep.answer_format import FORMATS, in_format, take_format
from effbench.sweep.printout import Printout
from tests.sweep.test_printout import printout


@pytest.mark.parametrize("form", FORMATS)
def test_both_ways_of_writing_it_are_understood_anywhere(form):
    for given in ([f"--format={form}"], ["--format", form], ["--format=csv", f"--format={form}"]):
        assert take_format(["+prune=0.5", *given, "seed=1"]) == (["+prune=0.5", "seed=1"], form)
    assert take_format(["+prune=0.5"]) == (["+prune=0.5"], "table")


@pytest.mark.parametrize(
    "given", [["--format=xml"], ["--format="], ["--format"], ["--format", "+prune=0.5"], ["--format=CSV"]]
)
def test_another_form_is_refused_in_a_line_that_names_those_there_are(given, capsys):
    assert in_format(given, lambda arguments, answering: pytest.fail("it began")) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert err.endswith("must be table, csv, json or markdown\n")


def answered(form, capsys, **changes):
    def run(arguments, answering):
        assert arguments == ["+prune=0.5"]
        print("what a network of the user's own prints")
        answering.show(printout(**changes))
        return 0

    assert in_format(["+prune=0.5", f"--format={form}"], run) == 0
    return capsys.readouterr()


def test_csv_has_raw_numbers_under_the_names_of_metrics(capsys):
    out, err = answered("csv", capsys, failures={"prune=0.9, seed=0": "ValueError: no"})
    rows = list(csv.reader(io.StringIO(out)))
    assert rows[0] == ["prune", "accuracy"] and float(rows[2][1]) == 1 / 3
    assert "size_bytes: no" in err and "failed: prune=0.9" in err and "prints" in err


def test_json_is_strict_and_holds_all(capsys):
    record = {"answers": [{"sentence": "s", "interval_95": None}], "runs": [{"accuracy": None}]}
    out, err = answered("json", capsys, record=record, command="effbench sweep +prune=0.5", failures={"a": "b"})
    found = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert found["points"][1] == {"prune": 0.5, "accuracy": 1 / 3}
    assert (found["sentences"], found["failures"]) == (["size_bytes: no"], {"a": "b"})
    assert found["answers"] == record["answers"] and found["runs"] == [{"accuracy": None}]
    assert "size_bytes: no" not in err and "failed: a: b" in err


def test_markdown_has_sentences_and_the_table(capsys):
    out, _ = answered("markdown", capsys, command="effbench sweep +prune=0.5")
    assert out.startswith("`effbench sweep +prune=0.5`\n\n- size_bytes: no\n\n| prune | test acc. |\n| ---: | ---: |\n")
    assert "| 0.5 | 33.3 % |" in out


def test_a_table_goes_where_it_always_goes(capsys):
    out, err = answered("table", capsys)
    assert "33.3 %" in out and "size_bytes: no" in out and err == ""


@pytest.mark.parametrize("form", FORMATS[1:])
def test_without_any_point_there_is_still_a_document(form, capsys):
    out, _ = answered(form, capsys, table=None, lines=[])
    assert {"csv": out == "", "json": out.startswith("{"), "markdown": out.strip() == ""}[form]


PROGRAM = """
import os, subprocess, sys
from effbench.sweep.answer_format import in_format
from tests.sweep.test_printout import printout
def run(arguments, answering):
    print("python")
    os.write(1, b"library")
    subprocess.run(["echo", "child"])
    answering.show(printout())
    return 0
sys.exit(in_format(["--format=csv"], run))
"""


@pytest.mark.extended
def test_what_libraries_and_child_processes_print_goes_to_stderr():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.startswith("prune,accuracy\n") and len(done.stdout.splitlines()) == 3
    assert done.returncode == 0 and all(word in done.stderr for word in ("python", "library", "child"))


def test_a_finished_command_answers_in_every_form(capsys):
    """What is kept of an answer is all that a document needs."""
    before = printout(record={"runs": [{"a": 1}], "answers": []}, command="c")
    kept = Printout.from_plain(json.loads(json.dumps(before.to_plain())), runs=before.runs)
    from effbench.sweep.documents import answer_document

    for form in FORMATS[1:]:
        assert answer_document(kept, form) == answer_document(before, form)
    pd.testing.assert_frame_equal(kept.table, before.table)
