"""Tables of stages, from the run to its files: through the store, from kept steps, with their figures."""

import io

import pandas as pd
import pytest
import torch
from PIL import Image

from effbench.config.read import read_sweep
from effbench.run.one import run_point
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.sweep.records import table_files
from effbench.sweep.records import describe_run

CPU = torch.device("cpu")
TINY = ["model.channels=[4,4]", "data.side=8", "train.epochs=1", "finetune.epochs=1", "train.fraction=0.3"]


@pytest.fixture(scope="module")
def sweep():
    return read_sweep([*TINY, "bits_budget=4,3", "coder=none,huffman"])


def test_a_plain_table_is_a_csv():
    files = table_files({"other": [{"a": 1, "b": 0.5}, {"a": 2, "b": 1.5}]})
    assert files == {"other.csv": b"a,b\n1,0.5\n2,1.5\n"}


def test_a_run_has_its_sensitivities_whoever_measured_them(tmp_path, sweep, monkeypatch):
    monkeypatch.setattr("effbench.run.one.WORTH_KEEPING_SECONDS", 0.0)
    store = Store(tmp_path)
    points = {(point.axes["bits_budget"], point.coder): point for point in sweep.plan.points}
    first = run_point(points[4, "none"], store, device=CPU)
    second = run_point(points[4, "huffman"], store, device=CPU)
    assert "bits_budget" in second.cached_steps
    assert first.tables == second.tables
    assert load_result(points[4, "none"].key, store).tables == first.tables
    other = run_point(points[3, "none"], store, device=CPU)
    chosen = {
        budget: [row["bits"] for row in r.tables["sensitivity"] if row["chosen"]]
        for budget, r in ((4, first), (3, other))
    }
    assert sum(chosen[3]) < sum(chosen[4])
    columns = ("layer", "bits", "loss_increase")
    measured = [[[row[name] for name in columns] for row in r.tables["sensitivity"]] for r in (first, other)]
    assert measured[0] == measured[1]


def test_tables_and_figures_are_files_of_the_run(tmp_path, sweep):
    point = next(point for point in sweep.plan.points if not point.is_reference)
    files = describe_run(point, sweep, result=run_point(point, Store(tmp_path), device=CPU)).files
    frame = pd.read_csv(io.BytesIO(files["sensitivity.csv"]))
    assert list(frame.columns) == ["layer", "weights", "bits", "loss_increase", "accuracy_val", "chosen"]
    assert len(frame) == 3 * 5
    assert frame.chosen.sum() == 3
    assert min(Image.open(io.BytesIO(files["sensitivity.png"])).size) > 200
    reference = next(point for point in sweep.plan.points if point.is_reference)
    plain = describe_run(reference, sweep, result=run_point(reference, Store(tmp_path), device=CPU)).files
    assert not [name for name in plain if "sensitivity" in name]
