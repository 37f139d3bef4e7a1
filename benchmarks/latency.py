"""How far a measured speed-up can be trusted.

Question: does the interval of a ratio hold what is true, and what do measuring, exporting and verifying cost?

Command: python benchmarks/latency.py [--repeats 20] [--seconds 1] [--engines eager,onnxruntime,openvino]

Cost: two to five minutes on two quiet cores; other processes spoil it, and it says so.

Expected: the same network measured as two points has a speed-up whose 95 % interval holds 1 in at least 90 % of the
repeats, and is narrower than ±3 %; the pass takes at most 1.3 times the time that was asked for. Beside it stands what
torch.utils.benchmark gives for the same network twice, one measurement after the other.
"""

from __future__ import annotations

import argparse
import copy
import time

import numpy as np
import torch
from torch.utils import benchmark

import effbench
from effbench.measure.cores import OthersWatch, held_to
from effbench.measure.engine import find_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--engines", default="eager,onnxruntime,openvino")
    given = parser.parse_args()
    torch.manual_seed(0)
    network = effbench.models.small_cnn().eval()
    watch = OthersWatch()
    with watch.watching():
        for name in given.engines.split(","):
            try:
                find_engine(name)
            except ValueError as error:
                print(f"{name}: skipped: {error}")
                continue
            spread_of(name, network, given)
        beside_torch(network, given)
        for name in given.engines.split(","):
            cost_of_export(name, network)
    print(f"other processes took {watch.cores_busy:.2f} cores meanwhile")


def spread_of(name: str, network: torch.nn.Module, given: argparse.Namespace) -> None:
    """Measure a network as two points, again and again, as a sweep does."""
    holds, widths, ratios = [], [], []
    began = time.perf_counter()
    for repeat in range(given.repeats):
        models = {"one": network, "other": copy.deepcopy(network)}
        frame = effbench.measure_latency(models, (1, 28, 28), engine=name, seconds=given.seconds, seed=repeat)
        row = frame.iloc[1]
        holds.append(row["speedup_low"] <= 1 <= row["speedup_high"])
        widths.append((row["speedup_high"] - row["speedup_low"]) / 2)
        ratios.append(row["speedup"])
    taken = (time.perf_counter() - began) / (2 * given.seconds * given.repeats)
    print(
        f"{name}: interval holds 1 in {100 * np.mean(holds):.0f} % of {given.repeats}; half its width "
        f"{100 * np.median(widths):.1f} % (largest {100 * max(widths):.1f} %); speed-ups {min(ratios):.3f} to "
        f"{max(ratios):.3f}; {taken:.2f} times the time asked for, preparing included"
    )


def beside_torch(network: torch.nn.Module, given: argparse.Namespace) -> None:
    """Measure the same network twice with torch.utils.benchmark, one after the other."""
    ratios = []
    image = torch.randn(1, 1, 28, 28)
    with held_to(1), torch.inference_mode():
        for _ in range(given.repeats):
            timer = benchmark.Timer("network(image)", globals={"network": network, "image": image}, num_threads=1)
            one, other = (timer.blocked_autorange(min_run_time=given.seconds).median for _ in range(2))
            ratios.append(one / other)
    print(f"torch.utils.benchmark: ratios {min(ratios):.3f} to {max(ratios):.3f}, with no interval")


def cost_of_export(name: str, network: torch.nn.Module) -> None:
    """Time the writing and reading of an engine's file, and a thousand inputs through it."""
    try:
        engine = find_engine(name)
    except ValueError:
        return
    image = torch.randn(1, 1, 28, 28)
    engine.prepare(network, image, threads=1)  # what is loaded once
    began = time.perf_counter()
    prepared = engine.prepare(network, image, threads=1)
    written = time.perf_counter()
    for _ in range(1000):
        prepared.outputs(image)  # type: ignore[attr-defined]
    print(f"{name}: {written - began:.1f} s to prepare, {time.perf_counter() - written:.1f} s to verify 1,000 inputs")


if __name__ == "__main__":
    main()
