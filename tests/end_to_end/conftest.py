"""Sweeps as users run them: in a subprocess where that is the point, else in this process, which saves the imports."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

import effbench
from effbench.sweep.__main__ import main

# A training of less than half a second is not worth keeping: three epochs take longer anywhere.
SHARED = "+prune=0.1,0.5,0.9 train.epochs=3 finetune.epochs=1 measure.seconds=0.02 measure.disturbed=keep"
QUICK = "train.epochs=1 finetune.epochs=1 train.fraction=0.1 measure.seconds=0.02 measure.disturbed=keep sweep.jobs=1"
MEASURED = ("latency_ms", "speedup", "train_seconds", "teacher_seconds")


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"))


STARTED = []


@pytest.fixture(autouse=True)
def nothing_left_running():
    """End what a test started and did not wait for, and close the pipes to it."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
        for stream in (process.stdout, process.stderr):
            stream.close()
        process.wait()


class Folder:
    """A working folder in which sweeps run, and what they leave there."""

    program = ("effbench.sweep",)

    def __init__(self, path):
        self.path = path

    def command(self, arguments):
        return [sys.executable, "-m", *self.program, *shlex.split(arguments)]

    def start(self, arguments, **options):
        without = ("MLFLOW_TRACKING_URI", "COLUMNS")  # the one of the terminal in which the tests run
        environment = {k: v for k, v in os.environ.items() if k not in without} | options.pop("env", {})
        process = subprocess.Popen(
            self.command(arguments),
            cwd=self.path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        STARTED.append(process)
        return process

    def run(self, arguments, **options):
        process = self.start(arguments, **options)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def uri(self):
        return f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def client(self):
        return MlflowClient(self.uri)

    def runs(self):
        """Return every MLflow run of the experiment, oldest first."""
        client = self.client
        experiment = client.get_experiment_by_name("effbench")
        return client.search_runs([experiment.experiment_id], order_by=["start_time ASC"]) if experiment else []

    def parents(self):
        return [run for run in self.runs() if "mlflow.parentRunId" not in run.data.tags]

    def children(self, status=None):
        runs = [run for run in self.runs() if "mlflow.parentRunId" in run.data.tags]
        return runs if status is None else [run for run in runs if run.info.status == status]

    def artifact(self, run, name):
        from urllib.parse import unquote, urlparse

        return Path(unquote(urlparse(run.info.artifact_uri).path), name)

    def frame(self, **options):
        return effbench.load_runs(tracking_uri=self.uri, **options)

    def results(self):
        """Return what must not depend on the order of work: by point and seed, the metrics and the file."""
        found = {}
        for run in self.children("FINISHED"):
            metrics = {k: v for k, v in run.data.metrics.items() if not k.startswith(MEASURED)}
            key = run.data.tags["mlflow.runName"]
            assert key not in found, f"{key} is there twice"
            found[key] = (metrics, self.artifact(run, "model.effb").read_bytes())
        return found


@pytest.fixture
def folder(tmp_path, monkeypatch, empty_database):
    """Return a working folder with nothing but an empty database, which is also this process's."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Folder(tmp_path)


@pytest.fixture(scope="session")
def at():
    """Return what makes a folder of a path."""
    return Folder


@pytest.fixture
def sweep(capsys):
    """Return what runs a sweep in this process, quickly: sweep(arguments) -> (exit status, stdout, stderr)."""

    def run(arguments, *, quick=True):
        status = main(shlex.split(f"{arguments} {QUICK}" if quick else arguments))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Return the folder of one real sweep, run in a subprocess, and what it printed. Tests read it, none writes."""
    folder = Folder(tmp_path_factory.mktemp("shared"))
    folder.asked, folder.finished = SHARED, folder.run(SHARED)
    assert folder.finished.returncode == 0, folder.finished.stderr
    return folder


@pytest.fixture
def own_network(tmp_path, monkeypatch):
    """Return what writes a module with a user's own network and makes it importable, here and in workers."""

    def write(body, name="own_networks"):
        place = tmp_path / "code"
        place.mkdir(exist_ok=True)
        (place / f"{name}.py").write_text(body)
        monkeypatch.syspath_prepend(place)
        monkeypatch.setenv("PYTHONPATH", str(place))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return place

    return write
