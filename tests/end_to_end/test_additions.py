"""A technique, an engine, a network with a knob, a data set and a task, each added by nothing but its own files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]

FILES = {
    "effbench/stages/clip_weights.py": '''
"""Large weights are clipped."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from effbench.compression.layers import weight_of
from effbench.plan.context import Context
from effbench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class ClipWeights(Stage):
    """Clip each weight to a share of its layer's largest."""

    VERSION: ClassVar[int] = 1
    LAYER_FIELD: ClassVar[str | None] = "share"

    share: Annotated[float, Field(gt=0, le=1)]

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy with clipped weights."""
        clipped = copy.deepcopy(model)
        for name, share in self.values_by_layer(clipped, context).items():
            weight = weight_of(clipped.get_submodule(name))
            weight.clamp_(-share * weight.abs().max(), share * weight.abs().max())
        return clipped
''',
    "conf/stage/clip_weights.yaml": "_target_: effbench.stages.clip_weights.ClipWeights\n",
    "conf/axis/clip.yaml": """
help: weights are clipped to this share of their layer's largest
type: float
above: 0
maximum: 1
neutral: 1
compresses: down
reads: stage
target: clip_weights.share
phase: prune
order: 1
moves: [size_bytes]
realised: {bytes: executed}
example: "0.5,0.25"
""",
    "effbench/measure/engines/plain.py": '''
"""A copy of the network, called as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from effbench.compression.constraints.stack import bake
from effbench.measure.engine import Prepared


@dataclass(frozen=True, kw_only=True)
class PlainEngine:
    """Run a copy without gradients."""

    name: ClassVar[str] = "plain"
    n_calls: int = 1

    def prepare(self, model: nn.Module, example_input: Tensor, /, *, threads: int) -> Prepared:
        """Return what runs the copy."""
        runnable = bake(model).eval()

        def outputs(images: Tensor) -> Tensor:
            with torch.no_grad():
                return [runnable(images) for _ in range(self.n_calls)][-1]

        return Prepared(run=lambda: outputs(example_input), outputs=outputs)

    def synchronise(self) -> None:
        """Nothing is ever behind."""
''',
    "conf/engine/plain.yaml": "_target_: effbench.measure.engines.plain.PlainEngine\nn_calls: 1\n",
    "effbench/models/kernel_net.py": '''
"""A network whose kernels can be narrower and wider."""

from __future__ import annotations

from torch import nn

VERSION = 1


def kernel_net(*, kernel: int = 3, num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """Build two convolutions of side `kernel`."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, kernel, padding=kernel // 2),
        nn.ReLU(),
        nn.Conv2d(8, 8, kernel, stride=2, padding=kernel // 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, num_classes),
    )
''',
    "conf/model/kernel_net.yaml": "_target_: effbench.models.kernel_net.kernel_net\ntasks: [top_two]\n",
    "conf/axis/kernel.yaml": """
help: side of the kernels, odd
type: int
minimum: 1
maximum: 5
neutral: 3
reads: network
target: kernel
moves: [size_bytes, macs, macs_effective, latency]
realised: {bytes: removed, macs: removed, latency: removed}
example: "1,3,5"
""",
    "effbench/data/stripes.py": '''
"""Stripes whose distance says the class."""

from __future__ import annotations

import numpy as np
import torch

from effbench.data.in_memory import InMemoryData
from effbench.data.splits import stratified_split


def stripes(*, side: int = 12, split_seed: int = 0) -> InMemoryData:
    """Return 600 noisy images of 4 classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 600)
    columns = np.arange(12) + rng.integers(0, 12, (600, 1))
    bright = (columns % (labels[:, None] + 2) == 0)[:, None, None, :] * 150
    images = (bright + rng.integers(0, 100, (600, 1, 12, 12))).astype(np.uint8)
    parts = stratified_split(labels, (0.6, 0.2, 0.2), seed=split_seed)
    return InMemoryData(
        name="stripes",
        n_classes=4,
        images={split: torch.from_numpy(images[part]) for split, part in parts.items()},
        labels={split: torch.from_numpy(labels[part]) for split, part in parts.items()},
        mean=(0.3,),
        std=(0.2,),
        side=side,
    )
''',
    "conf/data/stripes.yaml": """
_target_: effbench.data.stripes.stripes
tasks: [classification, top_two]
side: 12
split_seed: 0
epochs: {train: 3, finetune: 1}
""",
    "effbench/tasks/top_two.py": '''
"""One of two guesses is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from effbench.analysis.curves.quality import Quality, QualityKind
from effbench.data import ImageData
from effbench.tasks.classification import Classification


@dataclass(frozen=True, kw_only=True)
class TopTwo(Classification):
    """Classification in which the second guess counts as well."""

    name: ClassVar[str] = "top_two"
    VERSION: ClassVar[int] = 1

    def quality(self, data: ImageData, /) -> Quality:
        """Return the share of examples whose class is among the two guesses."""
        chance = 2 / data.n_classes
        return Quality(name="guessed", kind="ratio", unit="points", direction="higher", chance=chance)

    def kinds(self, data: ImageData, /) -> dict[str, QualityKind]:
        """Return the one quality there is."""
        return {"guessed": "ratio"}

    def counts(self, outputs: Tensor, targets: Tensor, /) -> dict[str, Tensor]:
        """Return whether the class is among the two guesses, and 1."""
        hit = (outputs.topk(2, dim=1).indices == targets[:, None]).any(1).long()
        return {"guessed": torch.stack([hit, torch.ones_like(hit)], dim=1)[:, None]}
''',
    "conf/task/top_two.yaml": "_target_: effbench.tasks.top_two.TopTwo\nmodel: kernel_net\ndata: stripes\n",
}
COMMAND = (
    "+kernel=1,3,5 +clip=1,0.5 task=top_two engine=eager,plain engine.plain.n_calls=3 "
    "measure.seconds=0.02 measure.disturbed=keep"
)
CONTRACTS = "clip_weights or plain or kernel_net or stripes or top_two or [clip] or [kernel]"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the checkout with the added files, and what runs a program in it."""
    root = tmp_path_factory.mktemp("additions")
    for folder in ("effbench", "conf", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for name, content in FILES.items():
        (root / name).write_text(content.lstrip("\n"))

    def run(*arguments):
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=root,
            env=environment | {"PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return root, run


@pytest.mark.waiting
def test_a_sweep_runs_over_all_that_was_added(copy):
    root, run = copy
    done = run("effbench.sweep", *COMMAND.split())
    assert (done.returncode, done.stderr) == (0, "")
    tables = list(root.glob(".effbench/sweeps/*/table.csv"))
    table = pd.read_csv(tables[0])
    assert list(table["kernel"]) == [3, 1, 1, 3, 5, 5]
    assert sorted(table["clip"]) == [0.5] * 3 + [1.0] * 3
    assert table["guessed_val"].between(0.25, 1).all()
    assert table["macs"].nunique() == 3
    assert (table["latency_ms/plain"] > table["latency_ms/eager"]).all()
    assert "guessed" in done.stdout
    assert "points" in done.stdout


def test_what_does_not_fit_the_task_is_refused_by_name(copy):
    _, run = copy
    done = run("effbench.sweep", "task=top_two", "model=lenet_5", "+prune=0.5")
    assert done.returncode == 2
    assert done.stderr == (
        "effbench: model=lenet_5: is for task=classification, not for task=top_two, which can take model=kernel_net\n"
    )


@pytest.mark.waiting
def test_the_contracts_hold_for_what_was_added(copy):
    _, run = copy
    done = run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/contracts", "-k", CONTRACTS)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
