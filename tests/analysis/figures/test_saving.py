"""Figures as files: text of SVG is text, fonts of PDF are embedded, the same figure is the same bytes anywhere."""

import os
import subprocess
import sys

import pytest

from effbench.analysis import answers, answers_figure, answers_png, figure_bytes


def test_text_of_svg_stays_text_and_nothing_has_a_date(runs):
    figure = answers_figure(answers(runs))
    svg, pdf = (figure_bytes(figure, form) for form in ("svg", "pdf"))
    assert b"prune=0.5" in svg and b"<text" in svg and b"dc:date" not in svg
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf


def test_png_is_what_it_was(runs):
    found = answers(runs)
    assert figure_bytes(answers_figure(found), "png") == answers_png(found)


@pytest.mark.parametrize("form", ["svg", "pdf"])
def test_the_same_figure_is_the_same_bytes_in_other_processes(form):
    code = (
        "import hashlib; from matplotlib.figure import Figure; from effbench.analysis import figure_bytes;"
        "f = Figure(); ax = f.add_subplot(); ax.plot([1, 2], label='α=0.5'); ax.legend(); ax.fill_between([0, 1], 1);"
        f"print(hashlib.sha256(figure_bytes(f, {form!r})).hexdigest())"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
