"""What tests of sweeps share: a tracker in memory, a display that counts, results without any training."""

import shutil
import warnings

import numpy as np
import pytest

import effbench
from effbench.config.read import read_sweep
from effbench.run.results import RunResult
from effbench.run.store import Store
from effbench.sweep import carry_out, timing


class Memory:
    """A tracker that keeps what it is given."""

    def __init__(self, finished=()):
        self.finished = {key: {} for key in finished}
        self.opened = []
        self.logged = []
        self.lacking, self.restored = set(), {}
        self.later, self.tags_later = {}, {}
        self.begun, self.points = [], {}
        self.closed = []
        self.models, self.view = {}, None

    def open_sweep(self, sweep_id, *, name, params, tags, began=None):
        self.opened.append((sweep_id, name, params, tags))
        self.began = began

    def finished_keys(self):
        return frozenset(self.finished)

    def keys_without_files(self):
        return frozenset(self.lacking)

    def log_files(self, key, files):
        assert key in self.finished
        self.restored[key] = files

    def begin_run(self, record):
        self.begun.append(record)

    def log_points(self, key, points):
        assert key in [record.key for record in self.begun]
        self.points.setdefault(key, []).extend(points)

    def log_run(self, record, *, status, reused=False):
        self.logged.append((record, status, reused))
        if status == "FINISHED":
            self.finished[record.key] = record

    def log_metrics(self, key, metrics):
        assert key in self.finished
        self.later[key] = metrics

    def log_tags(self, key, tags):
        assert key in self.finished
        self.tags_later[key] = tags

    def keys_with_models(self):
        return frozenset(self.models)

    def log_model(self, key, served):
        assert key in self.finished
        self.models[key] = served

    def share_view(self, params, metrics, *, order, with_models):
        self.view = (params, metrics, order, with_models)
        return "/#/page"

    def runs_page(self, keys):
        return f"/#/runs/{','.join(keys)}"

    def abandon_sweep(self):
        raise AssertionError("nothing to abandon")

    def close_sweep(self, *, status, metrics, files, tags):
        self.closed.append((status, metrics, files))
        self.tags = tags


class Silence:
    """A display that counts."""

    def __init__(self):
        self.ended = []
        self.said = []
        self.on_epoch = None
        self.on_begin = None

    def run_started(self, point): ...

    def run_began(self, point, seconds):
        self.on_begin(point, seconds)

    def step(self, point, step, done, total): ...

    def epoch_ended(self, point, row):
        self.on_epoch(point, row)

    def run_computed(self, point): ...

    def run_ended(self, point, *, failed):
        self.ended.append((str(point), failed))

    def expect(self, n_runs):
        self.expected = getattr(self, "expected", 0) + n_runs

    def measuring(self, done, total): ...

    def say(self, line):
        self.said.append(line)


@pytest.fixture
def make_tracker():
    return Memory


@pytest.fixture
def display():
    return Silence()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture(scope="session")
def result_of():
    """Return what makes the result of a point: half of the accuracy's loss is what is pruned, in tenths."""

    def make(point, **metrics):
        pruned = point.axes.get("prune", 0.0)
        accuracy = round(0.9 - 0.1 * pruned, 3)
        correct = np.arange(1000) < 1000 * accuracy
        counts = np.stack([correct, np.ones_like(correct)], axis=1)[:, None].astype(np.int64)
        measured = {
            "accuracy": accuracy,
            "accuracy_val": accuracy,
            "size_bytes": 1000.0 * (1 - pruned) + 100,
            "size_ratio": 4000 / (1000.0 * (1 - pruned) + 100),
            "macs": 5000.0,
            "macs_effective": 5000.0 * (1 - pruned),
            "params": 1000.0,
            "params_nonzero": 1000.0 * (1 - pruned),
        }
        return RunResult(
            metrics={**measured, **metrics},
            cached_steps=("train",),
            unknown_operations=(),
            blob=b"file",
            counts_val=counts,
            counts_test=counts,
        )

    return make


@pytest.fixture
def runs(result_of):
    """Return what yields every point of a sweep with a result; `outcomes` by label replace results."""

    def make(sweep, outcomes=None):
        for point in sweep.plan.points:
            yield point, (outcomes or {}).get(point.label) or result_of(point)

    return make


@pytest.fixture(scope="session")
def sweep_again(tmp_path_factory, empty_database):
    """Return what runs a small sweep from Python: two techniques and two seeds, always in one and the same folder."""
    folder = tmp_path_factory.mktemp("swept")
    shutil.copy(empty_database, folder / "mlflow.db")

    def again(**tracking):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return effbench.run_sweep(
                model="lenet_300_100",
                prune=[0, 0.9],
                bits=[32, 4],
                seed=[0, 1],
                tolerance=0.05,
                train={"epochs": 2, "fraction": 0.3},
                finetune={"epochs": 1},
                measure={"seconds": 0.01, "disturbed": "keep"},
                sweep={"jobs": 1},
                store={"root": folder / ".effbench"},
                tracking={"uri": f"sqlite:///{folder / 'mlflow.db'}", **tracking},
                progress=False,
            )

    again.folder = folder
    again.uri = f"sqlite:///{folder / 'mlflow.db'}"
    return again


@pytest.fixture(scope="session")
def swept(sweep_again):
    """Return the result of that sweep."""
    return sweep_again()


@pytest.fixture(scope="module")
def uri(swept):
    """Return where that sweep is tracked."""
    return swept._sweep.tracking.uri


def one_run(uri):
    """Return a run of that sweep, pruned and quantised, of its second seed."""
    frame = effbench.load_runs(tracking_uri=uri)
    return frame[(frame["prune"] == 0.9) & (frame["bits"] == 4) & (frame["seed"] == 1)].iloc[0]


@pytest.fixture(scope="module")
def row(uri):
    return one_run(uri)


@pytest.fixture(scope="module")
def own_uri(sweep_again, swept, tmp_path_factory):
    """Return where a copy of that sweep is tracked, to which a module of tests may add."""
    folder = tmp_path_factory.mktemp("copy") / "swept"
    shutil.copytree(sweep_again.folder, folder, ignore=shutil.ignore_patterns(".effbench"))
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture
def here(monkeypatch):
    """Have passes made in this process."""
    monkeypatch.setattr(timing, "call_apart", lambda function, *args, report: function(*args, report=report))


@pytest.fixture
def calm(monkeypatch):
    """Have no pass disturbed, whatever else this machine does."""
    monkeypatch.setattr(timing, "why_disturbed", lambda done, one: "")


@pytest.fixture
def tiny_sweep():
    """Return what plans a sweep of a network of four channels on images of 8 x 8, unless it is told otherwise."""

    def plan(*arguments):
        given = {argument.partition("=")[0] for argument in arguments}
        return read_sweep([*(one for one in TINY if one.partition("=")[0] not in given), *arguments])

    return plan


TINY = ("model.channels=[4,4]", "data.side=8")


@pytest.fixture
def outcome_of(monkeypatch, store, make_tracker, display, runs):
    """Return what carries a sweep out without any training: outcome_of("prune=0.5") -> (sweep, outcome)."""
    monkeypatch.setattr("effbench.sweep.carry_out.measure_points", lambda points, *_: {})

    def make(*arguments, outcomes=None):
        sweep = read_sweep([*arguments, f"tracking.uri=sqlite:///{store.root / 'there.db'}"])
        return sweep, carry_out.carry_out(sweep, store, make_tracker(), display, runs(sweep, outcomes))

    return make
