"""The report at a sweep's end: it says what the sweep found, and leads to the runs where there is a server."""

import numpy as np
import pytest

from effbench.analysis import answers
from effbench.config.read import read_sweep
from effbench.sweep.carry_out import carry_out
from effbench.sweep.printout import Printout
from effbench.sweep.reporting import report_of_sweep


@pytest.fixture
def told(monkeypatch, store, make_tracker, display, runs):
    """Return what makes the page of a sweep without any training: told(change, uri) -> HTML."""
    monkeypatch.setattr("effbench.sweep.carry_out.measure_points", lambda points, *_: {})

    def make(change=lambda frame: None, uri=None, lines=()):
        sweep = read_sweep(["prune=0.5,0.9", f"tracking.uri={uri or 'sqlite:///there.db'}"])
        tracker = make_tracker()
        outcome = carry_out(sweep, store, tracker, display, runs(sweep, None))
        change(outcome.frame)
        try:
            found = answers(outcome.frame, counts=outcome.counts)
        except ValueError:
            found = []
        printout = Printout(
            table=None, lines=lines, figure=None, runs="mlflow ui", failures={"prune=0.7": "it <b> broke"}
        )
        return report_of_sweep(sweep, outcome, found, printout, store, tracker).decode(), found, sweep

    return make


def test_the_page_has_the_answers_the_command_and_what_failed(told):
    page, found, sweep = told(lines=["prune acted on 98 % of the weights"])
    assert found and all(f"<bdi>{answer.sentence}" in page for answer in found)
    assert sweep.command in page and f"python -m effbench.report sweep={sweep.plan.sweep_id}" in page
    assert "failed: prune=0.7: it &lt;b&gt; broke" in page
    assert "prune acted on 98 % of the weights" in page
    assert "href=" not in page  # no server shows a database's runs


def test_points_lead_to_their_runs_on_a_server(told):
    page, _, sweep = told(uri="http://127.0.0.1:9")
    for point in sweep.plan.points:
        assert f'href="http://127.0.0.1:9/#/runs/{point.key}"' in page


def test_a_diverged_run_is_named_and_the_others_are_answered_for(told):
    def diverge(frame):
        frame.loc[frame["point"] == "prune=0.9", "accuracy_val"] = np.nan

    page, found, _ = told(diverge)
    assert not found
    assert "diverged or not whole: prune=0.9, seed=0 has no finite accuracy" in page
    assert "<bdi>size_bytes: " in page and "NaN" not in page


def test_the_page_of_the_same_sweep_is_the_same(told):
    assert told()[0] == told()[0]
