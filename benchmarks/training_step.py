"""Steps per second of effbench's training loop, beside the same loop as PyTorch has it by default.

Question: what do layout, optimiser kernel and precision of the loop bring, and do they cost accuracy?

Command: python benchmarks/training_step.py [--seeds 4] [--epochs 5] [--quick]     Cost: 3 minutes on one core.
         python benchmarks/training_step.py --resnet 28 64 224     ResNet-18 at these sides, a few steps: 2 minutes.
Method: each network is trained on digits from the same initial weights, on the same batches, one thread, by
  plain      float32, contiguous tensors, torch.optim.AdamW as it comes, written out here;
  layout     plain, but channels-last;
  float32    effbench's loop with train.precision=float32: channels-last, fused AdamW, and batch norm, pooling and ReLU
             in one pass (`effbench.compression.structure.fusion`);
  bfloat16   effbench's loop with train.precision=bfloat16.
train.precision=auto, the default, takes one of the last two; the table marks which one, on this machine.
They take turns, one training each, for every seed. A step lasts from the end of the one before (its batch included).
Processor time of the training thread is what counts: other processes disturb it less than wall time, which is shown
beside it. Shown are the median step, the median over the seeds of the ratio to plain, and the mean test accuracy.
Expected: the target is 1.7 times plain on lenet_5 and small_cnn in the default precision, at equal accuracy. Where the
processor has no bfloat16 instructions (simulated: AVX2 alone), bfloat16 is six to nine times slower than float32; so it
is for mobilenet_v1's depthwise convolutions, by less, on any processor: there auto takes float32.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from effbench.data import ImageData
from effbench.data.digits import digits
from effbench.data.in_memory import InMemoryData
from effbench.models import lenet_5, lenet_300_100, mobilenet_v1, small_cnn, torchvision_model
from effbench.tasks.classification import Classification
from effbench.training.evaluation import evaluate
from effbench.training.loop import TrainingOptions, fit
from effbench.training.precision import suited_precision

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet_5": lenet_5,
    "small_cnn": small_cnn,
    "lenet_300_100": lenet_300_100,
    "mobilenet_v1": partial(mobilenet_v1, alpha=0.25, num_classes=10, in_channels=1),
}
RESNETS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": partial(torchvision_model, name="resnet18", num_classes=10, in_channels=1),
}
LR, BATCH_SIZE, WEIGHT_DECAY = 3e-3, 64, 0.01
CPU = torch.device("cpu")
TASK = Classification()


class Clock:
    """Notes the time that each step took, in seconds: (processor, wall)."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = []
        self._last = self._now()

    def tick(self, *_: object) -> None:
        """Note the end of a step."""
        now = self._now()
        self.steps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.thread_time(), time.perf_counter()


def plain_fit(model: nn.Module, data: ImageData, epochs: int, seed: int, clock: Clock, layout: Any) -> None:
    """Train as PyTorch's tutorials do, with effbench's batches, schedule and settings."""
    model.to(memory_format=layout).train()
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR)
    generator = torch.Generator().manual_seed(seed)
    torch.randint(2**62, (), generator=generator)  # as effbench's loop does: the batches are the same
    n_steps = epochs * -(-data.n_examples("train") // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LR, total_steps=n_steps, pct_start=0.1, cycle_momentum=False
    )
    for _ in range(epochs):
        for images, labels in data.batches("train", side=data.side, batch_size=BATCH_SIZE, generator=generator):
            images = images.to(memory_format=layout)
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            clock.tick()
    model.to(memory_format=torch.contiguous_format).eval()


def effbench_fit(model: nn.Module, data: ImageData, epochs: int, seed: int, clock: Clock, precision: Any) -> None:
    options = TrainingOptions(
        epochs=epochs, lr=LR, batch_size=BATCH_SIZE, weight_decay=WEIGHT_DECAY, precision=precision
    )
    generator = torch.Generator().manual_seed(seed)
    fit(
        model,
        data,
        options,
        side=data.side,
        generator=generator,
        device=CPU,
        loss=lambda outputs, images, targets: TASK.loss(outputs, targets),
        progress=clock.tick,
    )


Fit = Callable[[nn.Module, ImageData, int, int, Clock], None]
LOOPS: dict[str, Fit] = {
    "plain": partial(plain_fit, layout=torch.contiguous_format),
    "layout": partial(plain_fit, layout=torch.channels_last),
    "float32": partial(effbench_fit, precision="float32"),
    "bfloat16": partial(effbench_fit, precision="bfloat16"),
}


@dataclass
class Tally:
    """Of one network and loop, an entry a seed: the median step in seconds (processor, wall), and the test accuracy."""

    processor: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)


def measure(network: str, data: ImageData, *, seeds: int, epochs: int) -> dict[str, Tally]:
    tallies = {loop: Tally() for loop in LOOPS}
    for seed in range(seeds):
        torch.manual_seed(seed)
        fresh = {**NETWORKS, **RESNETS}[network]()
        for loop in LOOPS if seed % 2 == 0 else reversed(LOOPS):
            model, clock = copy.deepcopy(fresh), Clock()
            LOOPS[loop](model, data, epochs, seed, clock)
            processor, wall = (statistics.median(times) for times in zip(*clock.steps[1:], strict=True))
            tallies[loop].processor.append(processor)
            tallies[loop].wall.append(wall)
            tallies[loop].accuracy.append(evaluate(model, data, "test", task=TASK, side=data.side).quality)
    return tallies


def ratio(plain: list[float], other: list[float]) -> float:
    return statistics.median(p / o for p, o in zip(plain, other, strict=True))


def show(network: str, tallies: dict[str, Tally]) -> None:
    plain = tallies["plain"]
    is_grouped = any(getattr(module, "groups", 1) != 1 for module in {**NETWORKS, **RESNETS}[network]().modules())
    auto = suited_precision(CPU, is_grouped=is_grouped)
    for loop, tally in tallies.items():
        step_ms = 1e3 * statistics.median(tally.processor)
        spread = statistics.stdev(tally.accuracy) if len(tally.accuracy) > 1 else 0.0
        ratios = (ratio(plain.processor, tally.processor), ratio(plain.wall, tally.wall))
        speed = "".join(f"{value:>9.2f} ×" for value in ratios)
        accuracy = f"{100 * statistics.mean(tally.accuracy):.2f} ± {100 * spread:.2f}"
        name = f"{loop} (auto)" if loop == auto else loop
        print(f"{network:<15}{name:<17}{step_ms:>9.2f}{1e3 / step_ms:>10.0f}{speed}{accuracy:>18}", flush=True)


def few_of(data: InMemoryData) -> InMemoryData:
    few = {split: slice(320 if split == "train" else 100) for split in data.images}
    return replace(
        data,
        images={split: data.images[split][keep] for split, keep in few.items()},
        labels={split: data.labels[split][keep] for split, keep in few.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch of a tenth of the data")
    parser.add_argument("--resnet", type=int, nargs="+", default=[], help="sides at which ResNet-18 alone is measured")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = digits()
    if options.quick or options.resnet:
        options.seeds = options.epochs = 1
        data = few_of(data)
    print(f"{options.seeds} seeds × {options.epochs} epochs, one thread, load {os.getloadavg()[0]:.1f} at the start\n")
    print(f"{'':<32}{'step ms':>9}{'steps/s':>10}{'to plain':>11}{'wall':>11}{'test acc. %':>18}", flush=True)
    for side in options.resnet:
        print(f"{side} pixels")
        show("resnet18", measure("resnet18", replace(data, side=side), seeds=1, epochs=1))
    for network in () if options.resnet else NETWORKS:
        show(network, measure(network, data, seeds=options.seeds, epochs=options.epochs))
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
