"""The figures of a sweep: drawn once, in each format that is asked for, on the parent run and in the store."""

import pytest

from effbench.sweep import figures
from effbench.sweep.answer import give_answer
from effbench.sweep.figures import nominal_files, saturation_files


def test_the_figure_of_the_same_values_is_drawn_once(outcome_of, store, make_tracker, monkeypatch, capsys):
    sweep, outcome = outcome_of("prune=0.5,0.9")
    drawn, draw = [], figures.answers_figure
    monkeypatch.setattr(figures, "answers_figure", lambda *a, **k: drawn.append(1) or draw(*a, **k))
    trackers = [make_tracker() for _ in range(3)]
    for tracker in trackers[:2]:
        give_answer(sweep, outcome, store, tracker)
    assert len(drawn) == 1
    assert trackers[0].closed == trackers[1].closed
    monkeypatch.setattr(figures, "FIGURE_VERSION", 99)
    give_answer(sweep, outcome, store, trackers[2])
    assert len(drawn) == 2


@pytest.mark.parametrize("formats", [("png",), ("svg", "pdf"), ("pdf", "png", "svg")])
def test_each_format_is_a_file_on_the_parent_and_in_the_store(outcome_of, store, make_tracker, capsys, formats):
    sweep, outcome = outcome_of("prune=0.5,0.9", f"figure.format={','.join(formats)}")
    tracker = make_tracker()
    give_answer(sweep, outcome, store, tracker)
    ((_, _, files),) = tracker.closed
    folder = store.root / "sweeps" / sweep.plan.sweep_id
    assert {name for name in files if name.startswith("saturation.")} == {f"saturation.{form}" for form in formats}
    assert all((folder / f"saturation.{form}").read_bytes() == files[f"saturation.{form}"] for form in formats)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("figure: ")]
    assert line.endswith(f"saturation.{formats[0]}")


def test_nominal_against_real_is_drawn_in_each_format(outcome_of, store):
    sweep, outcome = outcome_of("prune=0.5,0.9", "figure.format=svg,pdf")
    for name in ("speedup", "speedup_low", "speedup_high"):
        outcome.frame[f"{name}/eager"] = 1.0
    files = nominal_files(sweep, outcome, store)
    assert {name: content[:4] for name, content in files.items()} == {"nominal.svg": b"<?xm", "nominal.pdf": b"%PDF"}


def test_where_no_answer_has_a_cost_nothing_is_drawn(outcome_of, store):
    assert saturation_files([], *outcome_of("prune=0.5"), store) == {}
