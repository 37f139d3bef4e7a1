"""Trainings as pictures: a line for each run, validation dashed, what is no number left out."""

import numpy as np
import pandas as pd
import pytest

from effbench.analysis import Quality
from effbench.analysis.report.training_panels import training_panels


@pytest.fixture
def quality(runs):
    return Quality.of_frame(runs)


@pytest.fixture
def runs():
    return pd.DataFrame({"point": ["a"], "accuracy": [0.9], "accuracy_val": [0.9]})


def curves(n=3, **columns):
    epochs = np.arange(1, n + 1)
    return pd.DataFrame({"epoch": epochs, "loss": 2.0 / epochs, "accuracy": 1 - 0.5 / epochs, **columns})


def test_loss_and_quality_have_a_line_for_each_run(quality):
    tables = {"reference": {"curves": curves()}, "prune=0.5": {"curves": curves(5)}, "bits=8": {}}
    loss, accuracy = training_panels(tables, quality)
    assert (loss.y_title, accuracy.y_title) == ("mean loss", "accuracy (%)")
    assert [len(line.corners) for line in loss.lines] == [3, 5]
    assert [entry.name for entry in loss.legend] == ["reference", "prune=0.5"]
    assert "of 2 runs: reference, prune=0.5" in loss.described
    assert all(float(text) == int(text) for _, text in loss.x_ticks)


def test_validation_is_dashed(quality):
    table = curves(loss_val=[1.0, 0.9, 0.8], accuracy_val=[0.5, 0.6, 0.7])
    for panel in training_panels({"a": {"curves": table}}, quality):
        assert [line.kind for line in panel.lines] == ["line", "dashed"]
        assert panel.legend[-1].name == "dashed: on validation"


def test_one_epoch_is_a_mark_and_a_diverged_one_is_left_out(quality):
    loss, _ = training_panels({"a": {"curves": curves(1)}}, quality)
    assert len(loss.marks) == 1
    diverged = curves(loss=[1.0, np.inf, np.nan])
    loss, _ = training_panels({"a": {"curves": diverged}}, quality)
    assert [len(line.corners) for line in loss.lines] == [1]


@pytest.mark.parametrize("table", [None, pd.DataFrame({"other": [1]}), curves(0), curves()[["epoch"]]])
def test_without_curves_there_is_nothing(quality, table):
    assert training_panels({"a": {} if table is None else {"curves": table}}, quality) == []
