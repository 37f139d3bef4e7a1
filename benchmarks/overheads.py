"""What effbench takes beside computing: start-up, planning, tracking, the overhead of a point, counting, resuming.

Question: is a sweep's time its training, or the tool's?

Command: python benchmarks/overheads.py [--rounds 3] [--quick]     Cost: 2 minutes.
Method: medians of some rounds, in wall time and in processor time, which other work on the machine stretches less.
  start-up          a fresh process: imports, one command composed and planned, until its first runs begin; apart, until
                    MLflow's new database is there, which workers do not wait for
  500 points        the same with +prune=<250 values> +seed=0,1
  tracking a run    `log_run` of a point's record (some 40 params, 11 metrics, 3 files) to SQLite
  a point           `run_point` and `log_run` of a pruned point, without its stages and evaluations
  counting          count_cost of VGG-16 at 224 x 224: on the meta device, and with its 138 million weights
  nothing to do     `python -m effbench.sweep` once more, after it has finished: 12 prune ratios, 2 seeds; answered
                    from the store where the latency pass was undisturbed, planned again where it was not
Expected: at most 6 s · 8 s · 0.1 s · 0.25 s · 0.05 s (meta) · 3 s.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

START = """
import json, logging, sys, time
from contextlib import closing
from pathlib import Path
from effbench.run.forkserver import begin_server

class Silence:
    def run_started(self, point): ...
    def step(self, *_): ...
    def run_computed(self, point): ...

if __name__ == "__main__":
    begin_server()
    from effbench.config.read import read_sweep
    from effbench.run.executors import choose_executor
    from effbench.run.store import Store
    imported = time.time()
    logging.disable(logging.INFO)
    sweep = read_sweep(sys.argv[3:])
    store = Store(Path(sys.argv[2]) / "store")
    sweep.plan.sweep_id
    planned = time.time()
    execute = choose_executor(sweep.plan.points, store, sweep.device, jobs=None)
    with closing(execute(sweep.plan.points, store, sweep.device, Silence())):
        begun = time.time()
        from effbench.tracking.write import MlflowTracker
        MlflowTracker(f"sqlite:///{sys.argv[2]}/mlflow.db", "benchmark")
        opened = time.time()
    print(json.dumps([imported - float(sys.argv[1]), planned - imported, begun - planned, opened - begun]))
"""
TINY = ["train.epochs=1", "finetune.epochs=1", "train.fraction=0.05", "device=cpu"]
RATIOS = "+prune=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,0.95,0.97,0.99"


class Seconds(NamedTuple):
    """A moment, or how long something took: passed, and spent by the processor on this process and its children."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Seconds:
        """Return this moment."""
        times = os.times()
        return cls(time.perf_counter(), time.process_time() + times.children_user + times.children_system)

    def since(self, earlier: Seconds) -> Seconds:
        """Return what passed."""
        return Seconds(self.wall - earlier.wall, self.processor - earlier.processor)


def row(name: str, measured: Sequence[Seconds], *, limit: float | None = None, note: str = "") -> None:
    """Print the medians of some times beside what is allowed."""
    wall, processor = (statistics.median(times) for times in zip(*measured, strict=True))
    allowed = "" if limit is None else f"at most {limit:g}"
    verdict = "" if limit is None else "ok" if wall <= limit else "over"
    spent = "" if math.isnan(processor) else f"{processor:.3f}"
    print(f"{name:<34}{wall:>9.3f}{spent:>11}{allowed:>15}{verdict:>6}  {note}", flush=True)


def start_up(arguments: Sequence[str]) -> list[float]:
    """Return the seconds of a process up to its first runs, by part, and those until the database is there."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "start.py")
        script.write_text(START)
        command = [sys.executable, str(script), str(time.time()), folder, *arguments]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
    parts: list[float] = json.loads(finished.stdout.splitlines()[-1])
    return parts


def measure_start_up(n_rounds: int, n_points: int) -> None:
    values = ",".join(f"{(number + 1) / (n_points // 2 + 1):.6f}" for number in range(n_points // 2))
    for label, arguments, limit in (
        ("start-up", ["+prune=0.1,0.5,0.9"], 6.0),
        (f"{n_points} points", [f"+prune={values}", "+seed=0,1"], 8.0),
    ):
        parts = [start_up(arguments) for _ in range(n_rounds)]
        names = ("import", "compose and plan", "workers")
        medians = [statistics.median(part) for part in zip(*parts, strict=True)]
        note = ", ".join(f"{name} {seconds:.2f}" for name, seconds in zip(names, medians, strict=False))
        row(f"{label}, to the first run", [Seconds(sum(part[:-1]), math.nan) for part in parts], limit=limit, note=note)
        row(f"{label}, to the database", [Seconds(sum(part), math.nan) for part in parts])


@contextmanager
def timed(target: str) -> Iterator[list[Seconds]]:
    """Collect how long each call of a function takes, given by its dotted name."""
    import pkgutil

    seconds: list[Seconds] = []
    function: Callable[..., Any] = pkgutil.resolve_name(target)

    def stopwatch(*args: Any, **kwargs: Any) -> Any:
        began = Seconds.now()
        try:
            return function(*args, **kwargs)
        finally:
            seconds.append(Seconds.now().since(began))

    with mock.patch(target, stopwatch):
        yield seconds


PLACES = {"Train.apply": "stages.train", "Prune.apply": "stages.prune"}
INNER = ("encode_each", "decode", "count_cost", "keep_result", "_Maker._resume", "Point.fresh_network")


def measure_points(n_points: int) -> None:
    """Run points in this process; the stages and evaluations of each are taken from its time."""
    from effbench.config.read import read_sweep
    from effbench.run.one import run_point
    from effbench.run.store import Store
    from effbench.sweep.records import describe_run, sweep_params
    from effbench.tracking.write import MlflowTracker

    logging.disable(logging.INFO)
    ratios = ",".join(f"{(number + 1) / (n_points + 1):.4f}" for number in range(n_points))
    sweep = dataclasses.replace(read_sweep([f"+prune={ratios}", *TINY]), engines={})
    tracking: list[Seconds] = []
    beyond: list[Seconds] = []
    parts: dict[str, list[float]] = {name: [] for name in INNER}
    with tempfile.TemporaryDirectory() as folder:
        store, tracker = Store(Path(folder) / "store"), MlflowTracker(f"sqlite:///{folder}/mlflow.db", "benchmark")
        tracker.open_sweep(sweep.plan.sweep_id, name="benchmark", params=sweep_params(sweep), tags={})
        for point in sweep.plan.points:
            with all_timed(("evaluate", "Train.apply", "Prune.apply", *INNER)) as calls:
                began = Seconds.now()
                result = run_point(point, store, device=sweep.device)
                record = describe_run(point, sweep, result=result)
                ran = Seconds.now()
                tracker.log_run(record, status="FINISHED")
                logged = Seconds.now()
            compute = [call for name in ("evaluate", "Train.apply", "Prune.apply") for call in calls[name]]
            if not point.is_reference:
                tracking.append(logged.since(ran))
                beyond.append(logged.since(began).since(Seconds(*map(sum, zip(*compute, strict=True)))))
                for name in INNER:
                    parts[name].append(sum(call.processor for call in calls[name]))
    row("tracking a run", tracking, limit=0.1)
    note = ", ".join(f"{name} {1e3 * statistics.median(seconds):.0f}" for name, seconds in parts.items())
    row("a point, beyond its compute", beyond, limit=0.25, note=f"of which ms of processor: {note}")


@contextmanager
def all_timed(names: Sequence[str]) -> Iterator[dict[str, list[Seconds]]]:
    """Time several functions at once."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield {name: stack.enter_context(timed(f"effbench.{PLACES.get(name, 'run')}.{name}")) for name in names}


def measure_counting(n_rounds: int) -> None:
    import torch
    from torchvision.models import vgg16

    from effbench import count_cost

    with torch.device("meta"):
        empty = vgg16()
    torch.set_num_threads(1)
    for label, model, limit in (
        ("counting VGG-16 on meta", empty, 0.05),
        ("counting VGG-16 with its weights", empty.to_empty(device="cpu"), None),
    ):
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.is_meta:
                    parameter.fill_(1.0)
        count_cost(model, (3, 224, 224))
        seconds = []
        for _ in range(5 * n_rounds):
            began = Seconds.now()
            cost = count_cost(model, (3, 224, 224))
            seconds.append(Seconds.now().since(began))
        row(label, seconds, limit=limit, note=f"{cost.macs / 1e9:.2f} GMACs")


def measure_resume(n_rounds: int) -> None:
    command = [sys.executable, "-m", "effbench.sweep", RATIOS, "+seed=0,1", "measure.seconds=0.01", *TINY]
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        seconds = []
        for _ in range(1 + n_rounds):
            began = Seconds.now()
            subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
            seconds.append(Seconds.now().since(began))
    row("a sweep with nothing to do", seconds[1:], limit=8.0, note=f"26 runs; the first time {seconds[0].wall:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="only what is measured in this process, once")
    options = parser.parse_args()
    print(f"seconds (medians), {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    print(f"{'':<34}{'wall':>9}{'processor':>11}")
    if not options.quick:
        measure_start_up(options.rounds, 500)
    measure_points(2 if options.quick else 12)
    measure_counting(1 if options.quick else options.rounds)
    if not options.quick:
        measure_resume(options.rounds)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
