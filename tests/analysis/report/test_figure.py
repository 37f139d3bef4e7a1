"""The report's figure: a mark for each point and seed, where it belongs, and what is said of it."""

import pandas as pd
import pytest

from effbench.analysis import answers
from effbench.analysis.report.figure import panels_of
from effbench.analysis.report.panel import BOTTOM, LEFT, RIGHT, TOP


def runs_of(sizes, accuracies, n_seeds=1, **columns):
    rows = [
        {
            "point": "reference" if number == 0 else f"prune=0.{number}",
            "reference": number == 0,
            "seed": seed,
            "run_key": f"{number}-{seed}",
            "reference_key": f"0-{seed}",
            "size_bytes": float(size),
            "accuracy_val": accuracy + 0.001 * seed,
            "accuracy": accuracy,
            **{name: values[number] for name, values in columns.items()},
        }
        for number, (size, accuracy) in enumerate(zip(sizes, accuracies, strict=True))
        for seed in range(n_seeds)
    ]
    return pd.DataFrame(rows)


def panels(runs, page_of=lambda keys: None):
    return panels_of(answers(runs), tolerance=0.02, page_of=page_of)


def test_each_point_and_seed_is_there_within_the_axes():
    (panel,) = panels(runs_of([400, 200, 100, 150], [0.96, 0.95, 0.7, 0.6], n_seeds=3))
    kinds = [mark.kind for mark in panel.marks]
    assert (kinds.count("seed"), kinds.count("reference"), kinds.count("front"), kinds.count("dominated")) == (
        12,
        1,
        2,
        1,
    )
    assert all(LEFT < mark.x < RIGHT and TOP < mark.y < BOTTOM for mark in panel.marks)
    assert len(panel.bars) == 4
    (chosen,) = [mark for mark in panel.marks if (mark.x, mark.y) == panel.ring and mark.kind != "seed"]
    assert chosen.said.startswith("prune=0.1\n") and "loses 1.0 points; test: loses 1.0" in chosen.said
    assert "200 bytes (0.5× the reference's)" in chosen.said and "± 0.1" in chosen.said


def test_cheaper_is_further_left_and_better_higher():
    (panel,) = panels(runs_of([4e5, 2e5, 1e4], [0.9, 0.8, 0.7]))
    marks = sorted(panel.marks, key=lambda mark: mark.x)
    assert [mark.y for mark in marks] == sorted((mark.y for mark in marks), reverse=True)
    assert "logarithmic" in panel.x_title and panel.x_title.startswith("file size (KB)")


def test_costs_in_proportion_are_one_panel_that_says_so():
    runs = runs_of([400, 200], [0.9, 0.8], macs_effective=[40, 20], macs=[40, 30])
    first, second = panels(runs)
    assert (first.alike, second.alike) == ("effective multiply-adds", "")


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_a_mark_leads_to_its_runs(n_seeds):
    (panel,) = panels(runs_of([400, 200], [0.9, 0.8], n_seeds=n_seeds), page_of="+".join)
    pages = {mark.page for mark in panel.marks if mark.kind != "seed"}
    assert pages == {"+".join(f"{point}-{seed}" for seed in range(n_seeds)) for point in range(2)}


def test_an_uncompressed_control_is_a_mark_of_its_own():
    runs = runs_of([400, 200, 400], [0.9, 0.8, 0.92])
    runs["control"] = [False, False, True]
    (panel,) = panels(runs)
    assert [mark.kind for mark in panel.marks].count("control") == 1
