"""A whole prune sweep, beside the scripts that people write for it.

Question: what does a sweep cost in effbench, and what by hand?

Command: python benchmarks/sweep.py [--rounds 1] [--quick] [train.precision=bfloat16 …]   Cost: about 6 minutes.
Method: 12 prune ratios and the reference, 2 seeds, small_cnn on digits; AdamW, epochs and batches of conf/ for all.
  effbench  `python -m effbench.sweep +prune=… +seed=0,1` without its latency pass and final figure: plan, two stages
            of training, codec, evaluation of the file that was read back, MLflow, sweep.jobs=auto, an empty store.
  by hand   one PyTorch process as it comes (default layout, all threads, DataLoader over a TensorDataset that holds
            the normalised images): trains the reference once a seed, then prunes it by global magnitude, finetunes
            with masks applied again after every step, and evaluates; nothing is encoded, nothing logged.
  naive     the same script, but every point trains its own reference. Timed on every fourth point, then scaled up.
Each contender has its own process; its imports, and for effbench planning and the database, are "start-up". With
several rounds effbench and the script take turns and medians are shown; the naive script runs in the first. Further
arguments go to effbench's command.
The script decays biases too, and its learning rate (one-cycle) starts at a 25th: close to effbench's, not the same.
Expected: accuracies equal within the noise of two seeds. The targets are 2.5 times as fast as by hand and 5 times as
naive; they mean something on a quiet machine only. Seen were 2.59, 2.64 and 2.66 times as medians of
three rounds (2.4 to 2.8 in single ones), and 10.5.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROCESS_STARTED = time.perf_counter()

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)
CONTENDERS = ("effbench", "by hand", "naive")
EVERY = 4
"""The naive script runs every fourth point."""


@dataclasses.dataclass(frozen=True)
class Task:
    """The work: the same for all."""

    ratios: tuple[float, ...] = RATIOS
    seeds: tuple[int, ...] = (0, 1)
    epochs: int = 10
    finetune_epochs: int = 2
    fraction: float = 1.0


QUICK = Task(ratios=(0.5, 0.9), seeds=(0,), epochs=1, finetune_epochs=1, fraction=0.1)
Accuracies = dict[float, list[float]]
"""Test accuracies by prune ratio, one per seed; ratio 0 is the reference."""


def run_effbench(task: Task, extra: list[str], folder: Path) -> tuple[float, Accuracies]:
    """Return the moment at which start-up was over, and the accuracies."""
    import logging

    from effbench.run.forkserver import begin_server

    begin_server()  # as the command does
    from effbench.config.read import read_sweep
    from effbench.run.executors import choose_executor
    from effbench.run.store import Store
    from effbench.sweep.carry_out import carry_out
    from effbench.sweep.progress import ProgressDisplay
    from effbench.tracking.write import MlflowTracker

    logging.disable(logging.INFO)  # the database's migrations
    command = [
        f"+prune={','.join(map(str, task.ratios))}",
        f"+seed=[{','.join(map(str, task.seeds))}]",
        f"train.epochs={task.epochs}",
        f"finetune.epochs={task.finetune_epochs}",
        f"train.fraction={task.fraction}",
        "device=cpu",
        *extra,
    ]
    sweep = dataclasses.replace(read_sweep(command), engines={})
    store = Store(folder / "store")
    execute = choose_executor(sweep.plan.points, store, sweep.device, jobs=sweep.jobs)
    display = ProgressDisplay(sweep.plan)
    tracker = MlflowTracker(f"sqlite:///{folder}/mlflow.db", "benchmark")  # the command opens it beside the first runs
    ready = time.perf_counter()
    with contextlib.closing(execute(sweep.plan.points, store, sweep.device, display)) as runs:
        outcome = carry_out(sweep, store, tracker, display, runs)
    if outcome.failures:
        raise RuntimeError(f"runs failed: {outcome.failures}")
    return ready, {ratio: list(rows["accuracy"]) for ratio, rows in outcome.frame.groupby("prune")}


def run_script(task: Task, *, from_scratch: bool) -> tuple[float, Accuracies]:
    """Return the moment at which start-up was over, and the accuracies: PyTorch as most people write it."""
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn
    from torch.utils.data import DataLoader, TensorDataset

    from effbench.data.base import subset
    from effbench.data.digits import digits
    from effbench.models import small_cnn

    ready = time.perf_counter()
    data = digits()

    def dataset(split: str, keep: Tensor | slice = slice(None)) -> TensorDataset:
        images = (data.images[split].float() / 255 - data.mean[0]) / data.std[0]
        return TensorDataset(images[keep], data.labels[split][keep])

    train_set, test_set, val_set = (
        dataset("train", subset(data.n_examples("train"), task.fraction)),
        dataset("test"),
        dataset("val"),
    )

    def fit(model: nn.Module, epochs: int, lr: float, masks: dict[str, Tensor]) -> None:
        loader = DataLoader(train_set, batch_size=64, shuffle=True)
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, lr, total_steps=epochs * len(loader), pct_start=0.1, cycle_momentum=False
        )
        model.train()
        for _ in range(epochs):
            for images, labels in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    for name, mask in masks.items():
                        model.get_parameter(name).mul_(mask)

    def prune(model: nn.Module, ratio: float) -> dict[str, Tensor]:
        weights = {name: p for name, p in model.named_parameters() if p.ndim >= 2}
        magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
        threshold = magnitudes.sort().values[math.floor(ratio * len(magnitudes))]
        masks = {name: (weight.detach().abs() >= threshold).float() for name, weight in weights.items()}
        with torch.no_grad():
            for name, mask in masks.items():
                weights[name].mul_(mask)
        return masks

    def accuracy(model: nn.Module, examples: TensorDataset) -> float:
        model.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in DataLoader(examples, batch_size=250):
                correct += int((model(images).argmax(1) == labels).sum())
        return correct / len(examples)

    def trained(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = small_cnn()
        fit(model, task.epochs, 3e-3, {})
        return model

    found: Accuracies = {}
    for seed in task.seeds:
        reference = None if from_scratch else trained(seed)
        for ratio in (0.0, *task.ratios):
            model = trained(seed) if reference is None else copy.deepcopy(reference)
            fit(model, task.finetune_epochs, 1e-3, prune(model, ratio) if ratio else {})
            accuracy(model, val_set)
            found.setdefault(ratio, []).append(accuracy(model, test_set))
    return ready, found


def contend(name: str, task: Task, extra: list[str]) -> dict[str, object]:
    """Run one contender in this process."""
    if name == "effbench":
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
            ready, accuracies = run_effbench(task, extra, Path(folder))
            ended = time.perf_counter()
    else:
        ready, accuracies = run_script(task, from_scratch=name == "naive")
        ended = time.perf_counter()
    return {"startup": ready - PROCESS_STARTED, "seconds": ended - ready, "accuracies": list(accuracies.items())}


def in_own_process(name: str, task: Task, extra: list[str]) -> tuple[float, float, Accuracies]:
    """Return start-up, seconds and accuracies of one contender."""
    command = [sys.executable, __file__, "--contender", name, "--task", json.dumps(dataclasses.asdict(task)), *extra]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(f"{name} failed:\n{finished.stderr}")
    outcome = json.loads(finished.stdout.splitlines()[-1])
    return outcome["startup"], outcome["seconds"], dict(map(tuple, outcome["accuracies"]))


def rounds(task: Task, n_rounds: int, extra: list[str]) -> Iterator[tuple[str, float, float, Accuracies]]:
    """Yield (contender, start-up, seconds, accuracies), the contenders taking turns."""
    naive = dataclasses.replace(task, ratios=task.ratios[EVERY - 1 :: EVERY] or task.ratios[-1:])
    scale = (1 + len(task.ratios)) / (1 + len(naive.ratios))
    for number in range(n_rounds):
        for name in CONTENDERS if number == 0 else CONTENDERS[:2] if number % 2 == 0 else CONTENDERS[1::-1]:
            startup, seconds, accuracies = in_own_process(name, naive if name == "naive" else task, extra)
            yield name, startup, seconds * (scale if name == "naive" else 1), accuracies


def percent(values: list[float] | None) -> str:
    return "" if values is None else " / ".join(f"{100 * value:.1f}" for value in values)


def show(task: Task, measured: list[tuple[str, float, float, Accuracies]]) -> None:
    """Print both tables."""

    def median(name: str, of: Callable[[tuple[str, float, float, Accuracies]], float]) -> float:
        return statistics.median(of(entry) for entry in measured if entry[0] == name)

    ours = median("effbench", lambda entry: entry[2])
    print(f"\n{'':<10}{'start-up s':>12}{'sweep s':>10}{'effbench is':>14}")
    for name in CONTENDERS:
        seconds = median(name, lambda entry: entry[2])
        ratio = "" if name == "effbench" else f"{seconds / ours:.2f} × faster"
        print(f"{name:<10}{median(name, lambda entry: entry[1]):>12.1f}{seconds:>10.1f}{ratio:>16}")
    last = {name: accuracies for name, _, _, accuracies in measured}
    print(f"\n{'test acc. %':<12}" + "".join(f"{name:>18}" for name in CONTENDERS) + f"   (seeds {task.seeds})")
    for ratio in (0.0, *task.ratios):
        label = f"prune {ratio:g}" if ratio else "reference"
        print(f"{label:<12}" + "".join(f"{percent(last[name].get(ratio)):>18}" for name in CONTENDERS))
    means = {name: statistics.mean(v for ratio in task.ratios for v in last[name][ratio]) for name in CONTENDERS[:2]}
    print(f"{'mean, pruned':<12}" + "".join(f"{100 * mean:>18.2f}" for mean in means.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a minute part of the work, to see that it runs")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    options, extra = parser.parse_known_args()
    if options.contender:
        task = Task(**{key: tuple(v) if isinstance(v, list) else v for key, v in options.task.items()})
        print(json.dumps(contend(options.contender, task, extra)))
        return
    task = QUICK if options.quick else Task()
    n_runs = len(task.seeds) * (1 + len(task.ratios))
    print(f"{n_runs} runs, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    measured = list(rounds(task, options.rounds, extra))
    show(task, measured)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
