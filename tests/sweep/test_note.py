"""The description of a parent run: Markdown that renders, never longer than MLflow takes."""

import pandas as pd
import pytest

from effbench.sweep.note import MAX_NOTE_LENGTH, note

TABLE = pd.DataFrame({"prune": [0.0, 0.5], "size_bytes": [123456.0, 61000.5], "point": ["a|b", "<b>*c*"], "n": [1, 2]})


def test_it_is_the_command_its_sentences_and_its_table():
    assert note("command", ["a", "b"]) == "`command`\n\na\n\nb"
    assert note("command", ["a"], TABLE).split("\n\n") == [
        "`command`",
        "a",
        "| prune | size_bytes | point | n |\n"
        "| ---: | ---: | ---: | ---: |\n"
        "| 0 | 123,456 | a\\|b | 1 |\n"
        "| 0.5 | 61,000 | &lt;b>\\*c\\* | 2 |",
    ]


def test_a_command_with_a_backtick_is_still_code():
    assert note("a `b`") == "`` a `b` ``"


@pytest.mark.parametrize("n_rows", [0, 1, 50, 5000])
def test_it_is_never_longer_than_mlflow_takes_and_says_what_is_left_out(n_rows):
    table = pd.DataFrame({"prune": [n / 7 for n in range(n_rows)], "size_bytes": [1e5] * n_rows})
    text = note("command", ["sentence"], table)
    assert len(text) <= MAX_NOTE_LENGTH
    n_shown = sum(line.startswith("| ") for line in text.splitlines()) - (2 if n_rows else 0)
    left = n_rows - n_shown
    assert (f"… and {left} more: see table.csv of this run" in text) == (left > 0)


def test_long_sentences_are_cut_and_say_so():
    long = note("command", ["é" * 100] * 1000, TABLE)
    assert len(long) == MAX_NOTE_LENGTH
    assert long.startswith("`command`\n\né") and long.endswith("é…")


def test_a_table_that_is_too_wide_is_left_to_its_file():
    wide = pd.DataFrame([{f"{'column' * 20}{n}": n for n in range(60)}])
    assert note("command", ["a"], wide) == "`command`\n\na"
