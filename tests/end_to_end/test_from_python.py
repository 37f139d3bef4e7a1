"""Sweeps from Python as users begin them: a script without a guard, and a notebook with all of it typed into cells."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import effbench, torch
from torch import nn
from torch.utils.data import Dataset

WIDTH = 4

class Shapes(Dataset):
    "Noise, brighter on the left or on the right."
    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(n) % 2
        self.images = torch.rand(n, 1, 8, 8, generator=generator)
        self.images[self.labels == 1, :, :, 4:] += 0.5
    def __len__(self):
        return len(self.labels)
    def __getitem__(self, number):
        return self.images[number], int(self.labels[number])

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, WIDTH, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.classifier = nn.LazyLinear(num_classes)
    def forward(self, images):
        return self.classifier(self.body(images))

Net(2)(torch.zeros(64, 1, 8, 8)).sum().backward()  # torch has its threads now
"""
SWEEP = """
result = effbench.run_sweep(
    prune=[0.5, 0.9], model=Net, data=(Shapes(200, 0), Shapes(60, 1), Shapes(60, 2)),
    train={"epochs": 2}, finetune={"epochs": 1}, measure={"seconds": 0.01}, sweep={"jobs": 2}, progress=False,
)
"""
PLAN = """
WIDTH = {width}
plan = effbench.plan_sweep(
    prune=0.5, model=Net, data=(Shapes(200, 0), Shapes(60, 1), Shapes(60, 2)),
    train={{"epochs": 2}}, finetune={{"epochs": 1}},
)
print("plan", *set(plan.runs["status"]))
"""
SHOW = """
print(result.sweep_id, len(result.runs), result.is_whole, *result.runs["run_key"])
loaded = effbench.load_model(result.runs.iloc[2], model=Net)
print(result.runs["point"][2], torch.equal(loaded.classifier.weight, result.model(prune=0.9).classifier.weight))
"""


@pytest.mark.waiting
def test_a_script_sweeps_its_own_classes_in_workers_and_goes_on_after_a_restart(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    (tmp_path / "sweep_it.py").write_text(SCRIPT + SWEEP + SHOW + PLAN.format(width=4) + PLAN.format(width=5))
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    printed, stamps = [], []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "sweep_it.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.splitlines())
        stamps.append({path: path.stat().st_mtime_ns for path in tmp_path.glob(".effbench/entries/runs/*")})
    assert printed[0] == printed[1] and printed[0][0].split()[1:3] == ["3", "True"]
    assert printed[0][1:] == ["prune=0.9 True", "plan kept", "plan to run"]
    assert stamps[0] == stamps[1] != {}


NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "5_my_own_network_and_data.ipynb"
INTERRUPTED = """
import threading, _thread
threading.Timer(3.0, _thread.interrupt_main).start()
part = effbench.run_sweep(prune=[0.5, 0.6, 0.7], **{**keys, "train": {"epochs": 4000}})
print("missing", part.n_missing, "finished", len(part.runs))
"""
KEPT = """
print("plan", *set(effbench.plan_sweep(prune=[0.5, 0.8, 0.95], **keys).runs["status"]))
"""


def notebook_as_tested():
    """Return the notebook with shorter trainings, an interrupt, and its network's cell changed and run again."""
    import nbformat  # takes seconds, and is needed here alone

    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    sources = [re.sub(r'"epochs": \d', '"epochs": 1', cell.source) for cell in cells]
    network = next(source for source in sources if source.startswith("class Net"))
    sources += [INTERRUPTED, KEPT, network.replace("width=16", "width=12"), 'keys["model"] = Net', KEPT]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


@pytest.mark.waiting
@pytest.mark.filterwarnings("ignore")  # the notebook client's own
def test_the_notebook_runs_is_interrupted_and_notices_a_changed_cell(tmp_path, monkeypatch, empty_database):
    from nbclient import NotebookClient

    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    notebook = notebook_as_tested()
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    by_source = {cell.source: cell.outputs for cell in notebook.cells}
    bars, answer = (o for o in next(o for s, o in by_source.items() if s.startswith("pruned =")) if "data" in o)
    assert "4/4" in bars["data"]["text/html"] and "latency" in bars["data"]["text/html"]
    assert "image/png;base64" in answer["data"]["text/html"] and "<table" in answer["data"]["text/html"]
    assert any(
        "image/png" in output.get("data", {}) for output in next(o for s, o in by_source.items() if "labels=" in s)
    )
    said = "".join(output.get("text", "") for output in by_source[INTERRUPTED])
    assert "missing 4 finished 0" in said and "interrupted: 4 of 4 runs are missing" in said
    kept, changed = ("".join(o.get("text", "") for o in cell.outputs) for cell in notebook.cells if cell.source == KEPT)
    assert "plan kept" in kept and "plan to run" in changed
