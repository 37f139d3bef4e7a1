"""Progress in a notebook: bars in the cell's output, not too often, and the last state at the end."""

import sys
from types import SimpleNamespace

import pytest

from effbench.sweep import notebook_progress
from effbench.sweep.notebook_progress import NotebookProgress, is_notebook


class Point(SimpleNamespace):
    def __str__(self):
        return self.key


@pytest.fixture
def pages(monkeypatch):
    """Stand for IPython's display; return the pages that were shown."""
    shown = []
    handle = SimpleNamespace(update=lambda page: shown.append(page._repr_html_()))

    def display(page, *, display_id):
        assert display_id
        shown.append(page._repr_html_())
        return handle

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return shown


def test_a_kernel_is_told_from_a_terminal(monkeypatch):
    assert not is_notebook()
    for shell, expected in ((None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=1), True)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert is_notebook() == expected


def test_bars_are_drawn_and_the_last_state_stays(pages, monkeypatch, capsys):
    monkeypatch.setattr(notebook_progress, "SECONDS_BETWEEN", 0.0)
    display = NotebookProgress(SimpleNamespace(points=range(2)))
    with display:
        for key in ("<a>", "b"):
            display.run_started(Point(key=key))
            display.step(Point(key=key), "train", 1, 4)
            assert "train" in pages[-1] and "<a>" not in pages[-1]
            display.run_computed(Point(key=key))
            display.run_ended(Point(key=key), failed=key == "b")
        display.measuring(1, 2)
        display.say("a line")
    assert "2/2" in pages[-1] and "1 failed" in pages[-1] and "latency" in pages[-1]
    assert capsys.readouterr() == ("", "effbench: a line\n")


def test_a_notebook_is_not_flooded(pages):
    with NotebookProgress(SimpleNamespace(points=range(2))) as display:
        display.run_started(Point(key="a"))
        for done in range(1000):
            display.step(Point(key="a"), "train", done, 1000)
        n_shown = len(pages)
    assert n_shown < 20 and len(pages) == n_shown + 1
