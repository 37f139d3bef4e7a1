"""The points of a sweep and their keys: everything that is known before anything runs."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from effbench.codec.streams import Coder
from effbench.data import ImageData
from effbench.plan.blueprint import Blueprint
from effbench.plan.recipe import Rounds
from effbench.plan.stage import Step, digest, prefix_keys, seed_of

RESULT_VERSION = 4
"""Bumped when what is measured of an equal model, or the layout of a kept result, changes."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run to be: plain data, so that it can be hashed, logged and sent to a worker.

    `axes` holds the value of every axis of the sweep, the neutral ones too; `swept` of the other keys with several
    values. `config` is the effective configuration, to be logged: it decides nothing here.
    """

    label: str
    axes: Mapping[str, Any]
    swept: Mapping[str, Any]
    seed: int
    network: Blueprint
    data: Blueprint
    fingerprint: str
    side: int
    eval_side: int
    steps: tuple[Step | Rounds, ...]
    coder: Coder
    threads: int
    reference_bytes: int
    """The uncompressed reference's float32 bytes."""
    reference_key: str | None = None
    """The key of this point's reference; None when the point is a reference itself."""
    config: Mapping[str, Any]

    @cached_property
    def prefix_keys(self) -> tuple[str, ...]:
        """The keys of the fresh network and of the network after each step."""
        root = {
            "network": self.network.identity(),
            "source": source_digest(self.network),
            "data": self.fingerprint,
            "side": self.side,
            "seed": self.seed,
            "threads": self.threads,
            "torch": torch.__version__,
        }
        return prefix_keys(root, self.steps)

    @cached_property
    def key(self) -> str:
        """The key of the run: of its model, its file and where it is evaluated."""
        return digest(
            {
                "model": self.prefix_keys[-1],
                "coder": self.coder,
                "eval_side": self.eval_side,
                "reference_bytes": self.reference_bytes,
                "version": RESULT_VERSION,
            }
        )

    @property
    def shared_keys(self) -> tuple[str, ...]:
        """The keys of all networks that the point makes, its teachers' among them; not of the fresh one."""
        taught_by = (step.teacher for step in self.plain_steps if step.teacher is not None)
        return (*(key for teacher in taught_by for key in teacher.shared_keys), *self.prefix_keys[1:])

    @property
    def plain_steps(self) -> tuple[Step, ...]:
        """The steps, with those of rounds that choose their number written out."""
        return tuple(plain for step in self.steps for plain in (step.steps if isinstance(step, Rounds) else (step,)))

    @property
    def is_reference(self) -> bool:
        """Whether this is the uncompressed control of other points."""
        return self.reference_key is None

    @property
    def network_name(self) -> str:
        """The name under which the network is logged."""
        return str(self.network.options.get("name", self.network.target.rpartition(".")[2]))

    @property
    def data_name(self) -> str:
        """The name under which the data set is logged."""
        return load_data(self.data).name

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, side, side) of one input as it is evaluated."""
        return (load_data(self.data).channels, self.eval_side, self.eval_side)

    def fresh_network(self) -> nn.Module:
        """Return the network with the initial weights of this point's seed."""
        data = load_data(self.data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, "network"))
            return build_network(self.network, data, self.side)

    def __str__(self) -> str:
        return f"{self.label}, seed={self.seed}"


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep, each once, references first."""

    points: tuple[Point, ...]

    @classmethod
    def of(cls, points: Iterable[Point]) -> Plan:
        """Return the plan of `points`, of which those with equal keys are one run."""
        by_key: dict[str, Point] = {}
        for point in sorted(points, key=lambda point: not point.is_reference):
            by_key.setdefault(point.key, point)
        return cls(tuple(by_key.values()))

    @cached_property
    def sweep_id(self) -> str:
        """The same for the same set of runs, in whatever order they were asked for."""
        return digest({"runs": sorted(point.key for point in self.points)})[:12]

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        """The names of all steps, in alphabetical order."""
        return tuple(sorted({step.name for point in self.points for step in point.plain_steps}))

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The axes of the sweep."""
        return tuple(dict.fromkeys(axis for point in self.points for axis in point.axes))

    def reference_of(self, point: Point) -> Point:
        """Return the uncompressed control that a point is compared with."""
        key = point.reference_key or point.key
        return next(candidate for candidate in self.points if candidate.key == key)


@lru_cache(maxsize=4)
def load_data(blueprint: Blueprint) -> ImageData:
    """Return the data set of a blueprint; loaded once a process."""
    data: ImageData = blueprint.build()
    return data


def build_network(blueprint: Blueprint, data: ImageData, side: int) -> nn.Module:
    """Return the network for a data set at `side`, its weights drawn from torch's global generator."""
    network = blueprint.build(num_classes=data.n_classes, in_channels=data.channels, input_side=side)
    if not isinstance(network, nn.Module):
        raise ValueError(f"model._target_={blueprint.target}: gives a {type(network).__name__}, not a torch.nn.Module")
    return network


@lru_cache(maxsize=256)
def source_digest(blueprint: Blueprint) -> str:
    """Return a digest of the code behind a blueprint and of the files that its options name.

    A network whose code was edited, or a weights file that was written anew, is another network.
    """
    paths = [Path(value) for value in blueprint.options.values() if isinstance(value, str) and Path(value).is_file()]
    source = inspect.getsourcefile(inspect.unwrap(blueprint.callable))
    if source is not None:
        paths.append(Path(source))
    content = hashlib.sha256()
    for path in paths:
        content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()[:16]
