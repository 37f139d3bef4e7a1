"""Reading the runs of an experiment, beside mlflow.search_runs and a plain loop; and analysing a large sweep.

Question: does a notebook wait for its runs, or for what they say?

Command: python benchmarks/load_runs.py [--runs 10000] [--rounds 5] [--quick]     Cost: 5 minutes.
Method: a sweep of ten runs (two prune ratios, two bit widths, two seeds) is run and logged by the command, without any
training. What it logged is copied within MLflow's tables, by SQL, up to so many runs (each some 18 params, 33 metrics
and 33 tags, in twenty sweeps), with run ids, keys, points and metrics of their own: logging them one by one would take
a quarter of an hour and give the same rows.
  load_runs               everything, and one of the twenty sweeps; after imports, pandas' included, none of MLflow's
  a fresh process         Python, its imports, and load_runs of everything
  mlflow.search_runs      everything, once, as it takes half a minute
  a plain loop            MlflowClient.search_runs page by page, a dictionary a run, once
  front, each method      of a drawn sweep of 50 points, 5 seeds and 10,000 examples: the front; each method of
                          saturation_point on it, with 1,000 resamples where the method takes counts; and all together
Medians in wall time and in processor time, which other work on the machine stretches less. The peak of memory is what
tracemalloc sees of Python's and numpy's objects, in a reading of its own.
Expected: 0.5 s for 10,000 runs on an idle, fast machine, where mlflow.search_runs takes twenty; memory in proportion to
the runs. On slow cores it is 1 s of processor time, of which SQLite takes 0.7: going through the 800,000 rows that
these runs logged takes it 0.25 s in the order of the file, 0.4 run by run, as they have to come; making lists and
numbers of them takes the rest. All of the analysis together at most 2 s.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from parts.sweeps import drawn_sweep

import effbench
from effbench.analysis.definitions.methods import METHODS
from effbench.tracking import names

SWEEP = ["+prune=0.3,0.6", "+bits=8,4", "+seed=0,1", "train.epochs=0", "finetune.epochs=0", "measure.seconds=0.01"]
N_SWEEPS = 20
SIZE = {"n_points": 50, "n_seeds": 5, "n_examples": 10_000}
TABLES = ("params", "latest_metrics", "metrics", "tags")
OWN = {
    names.SWEEP: lambda run, n_runs: f"{run * N_SWEEPS // n_runs:012x}",
    names.RUN_KEY: lambda run, n_runs: f"{run:020x}",
    names.POINT: lambda run, n_runs: f"point {run}",
}
"""Tags that each copy has for its own, by its number."""


def template(folder: Path) -> Path:
    """Run a sweep in a folder; return its database."""
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "effbench.sweep", *SWEEP]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    return folder / "mlflow.db"


def fill(path: Path, n_runs: int) -> None:
    """Copy the runs of a database until it has so many."""
    database, generator = sqlite3.connect(path), random.Random(0)
    with database:
        keyed = "SELECT * FROM runs WHERE run_uuid IN (SELECT run_uuid FROM tags WHERE key = ?)"
        runs = database.execute(keyed, (names.RUN_KEY,)).fetchall()
        columns = {table: _columns(database, table) for table in ("runs", *TABLES)}
        for number in range(len(runs), n_runs):
            run = dict(zip(columns["runs"], runs[number % len(runs)], strict=True))
            original, copy = run["run_uuid"], uuid.UUID(int=generator.getrandbits(128)).hex
            _insert(database, "runs", [run | {"run_uuid": copy, "start_time": run["start_time"] + 1000 * number}])
            for table in TABLES:
                rows = database.execute(f"SELECT * FROM {table} WHERE run_uuid = ? ORDER BY rowid", (original,))
                values = [dict(zip(columns[table], row, strict=True)) | {"run_uuid": copy} for row in rows.fetchall()]
                for value in values:
                    if table == "tags" and value["key"] in OWN:
                        value["value"] = OWN[value["key"]](number, n_runs)
                    if table == "latest_metrics":
                        value["value"] *= generator.uniform(0.5, 1)
                _insert(database, table, values)
    database.close()


def _columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]


def _insert(database: sqlite3.Connection, table: str, rows: Sequence[dict[str, object]]) -> None:
    named = ", ".join(f":{column}" for column in rows[0])
    database.executemany(f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({named})", rows)


def row(name: str, read: Callable[[], object], n_rounds: int, *, limit: float | None = None, note: str = "") -> None:
    """Print the medians of how long a reading takes beside what is allowed."""
    seconds = []
    for _ in range(n_rounds):
        began, spent = time.perf_counter(), _processor()
        read()
        seconds.append((time.perf_counter() - began, _processor() - spent))
    wall, processor = (statistics.median(times) for times in zip(*seconds, strict=True))
    allowed = "" if limit is None else f"at most {limit:g}"
    verdict = "" if limit is None else "ok" if processor <= limit else "over"
    print(f"{name:<34}{wall:>9.3f}{processor:>11.3f}{allowed:>15}{verdict:>6}  {note}", flush=True)


def _processor() -> float:
    """Return the processor time that this process and those that it waited for have taken."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_of(read: Callable[[], object]) -> int:
    """Return the most bytes that were in use at once while something is read."""
    tracemalloc.start()
    read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def measure(path: Path, n_rounds: int) -> None:
    uri = f"sqlite:///{path}"

    def everything() -> object:
        return effbench.load_runs(tracking_uri=uri)

    def one_sweep() -> object:
        return effbench.load_runs(sweep=f"{N_SWEEPS // 2:012x}", tracking_uri=uri)

    def fresh() -> object:
        program = f"import effbench; effbench.load_runs(tracking_uri={uri!r})"
        return subprocess.run([sys.executable, "-c", program], check=True)

    frame = effbench.load_runs(tracking_uri=uri)
    note = f"{len(frame)} runs, {len(frame.columns)} columns, peak {peak_of(everything) / 1e6:.0f} MB"
    row("load_runs", everything, n_rounds, limit=0.5, note=note)
    row("load_runs, one sweep", one_sweep, n_rounds, limit=0.5)
    row("a fresh process", fresh, n_rounds)
    import mlflow

    mlflow.set_tracking_uri(uri)

    def search() -> object:
        return mlflow.search_runs(experiment_names=["effbench"], max_results=10**5)

    row("mlflow.search_runs", search, 1)
    row("a plain loop", lambda: plain_loop(uri), 1)


def plain_loop(uri: str) -> list[dict[str, object]]:
    """Return the finished runs as one would read them without a library: page by page, run by run."""
    from mlflow.tracking import MlflowClient

    client, rows, token = MlflowClient(uri), [], None
    experiment = client.get_experiment_by_name("effbench").experiment_id
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            if run.info.status == "FINISHED" and names.RUN_KEY in run.data.tags:
                rows.append({"run_id": run.info.run_id, **run.data.params, **run.data.metrics})
        token = page.token
        if not token:
            return rows


def measure_analysis(n_rounds: int, *, n_points: int, n_seeds: int, n_examples: int) -> None:
    """Time the front and every method, each with its interval, of a drawn sweep."""
    runs, counts = drawn_sweep(n_points, n_seeds, n_examples)
    print(f"\n{n_points} points, {n_seeds} seeds, {n_examples:,} examples")

    def front() -> object:
        return effbench.pareto_front(runs, cost="size_bytes")

    def analysed(method: str) -> object:
        options = {"price": 10_000.0} if method == "price" else {}
        return effbench.saturation_point(runs, cost="size_bytes", method=method, counts=counts, **options)

    def everything() -> None:
        front()
        for method in METHODS:
            analysed(method)

    everything()  # imports of the methods' libraries
    row("the front", front, n_rounds)
    for method in METHODS:
        row(f"saturation_point, {method}", lambda method=method: analysed(method), n_rounds)
    row("all of these", everything, n_rounds, limit=2.0, note=f"peak {peak_of(everything) / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="500 runs, once")
    options = parser.parse_args()
    print(f"seconds (medians), {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    print(f"{'':<34}{'wall':>9}{'processor':>11}")
    with tempfile.TemporaryDirectory() as folder:
        path = template(Path(folder))
        fill(path, 500 if options.quick else options.runs)
        measure(path, 1 if options.quick else options.rounds)
    size = {"n_points": 10, "n_seeds": 2, "n_examples": 500} if options.quick else SIZE
    measure_analysis(1 if options.quick else options.rounds, **size)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
