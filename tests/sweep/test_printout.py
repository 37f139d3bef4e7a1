"""What a sweep prints at its end: all of it from plain data, the same when it comes back from a file."""

import json

import pandas as pd
import pytest

from effbench.sweep.printout import Printout

QUALITY = {"name": "accuracy", "kind": "ratio", "unit": "points", "direction": "higher", "chance": 0.1}


def table(**columns):
    frame = pd.DataFrame({"prune": [0.0, 0.5], "accuracy": [0.987, 1 / 3], **columns})
    frame.attrs = {"quality": QUALITY, "extras": ["accuracy_top5"]}
    return frame


def printout(**changes):
    return Printout(**{"table": table(), "lines": ["size_bytes: no"], "figure": None, "runs": "mlflow ui", **changes})


def test_a_table_then_what_is_said_then_where_the_rest_is(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printout(figure=str(tmp_path / "a [b]" / "saturation.png")).show()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5].split() == ["0.5", "33.3", "%"]
    assert lines[-4:] == ["", "size_bytes: no", "figure: a [b]/saturation.png", "runs:   mlflow ui"]


def test_failures_are_named_each_in_a_line(capsys):
    printout(table=None, lines=[], failures={"prune=0.5, seed=0": "ValueError: [bold]no[/bold]"}).show()
    assert capsys.readouterr().out.splitlines() == [
        "failed: prune=0.5, seed=0: ValueError: [bold]no[/bold]",
        "the same command tries the failed runs again, and only those",
        "runs:   mlflow ui",
    ]


def test_reasons_do_nothing_to_the_terminal_and_tell_no_password(capsys):
    hostile = "[/bold]\x1b[31m\r\u202ehttp://me:hunter2@there"
    printout(table=None, lines=[hostile], failures={hostile: hostile}, unmeasured=[hostile], runs=hostile).show()
    out = capsys.readouterr().out
    assert out.count("[/bold]\\x1b[31m\\r\\u202ehttp://me:***@there") == 5
    assert "hunter2" not in out and "\x1b" not in out


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"pooling": ["early", "late"], "size_bytes": [65_345.0, 999.0]},
        {"latency_ms/eager": [float("nan"), 1.2345678901234567]},
        {"recipe.steps": ["[train,finetune]", None], "n_seeds": [1, 2]},
        {"bits": [32, 8], "data": ["001", "1e5"]},
    ],
)
def test_what_is_kept_prints_the_same(capsys, columns):
    before = printout(table=table(**columns))
    before.show()
    printed = capsys.readouterr().out
    plain = json.loads(json.dumps(before.to_plain()))
    Printout.from_plain(plain, runs="mlflow ui").show()
    assert capsys.readouterr().out == printed


def test_without_a_table_too(capsys):
    before = printout(table=None)
    after = Printout.from_plain(json.loads(json.dumps(before.to_plain())), runs="mlflow ui")
    assert after == before
