"""The points of a sweep and their keys: everything that is known before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from effbench.codec.streams import CODER_VERSIONS, Coder
from effbench.plan.chain import Chain
from effbench.plan.keys import digest
from effbench.plan.watching import Watching

RESULT_VERSION = 5
"""Bumped when what is measured of an equal network, or the layout of a kept result, changes."""
_SOURCES = {"effbench.models.timm_model": "timm:", "effbench.models.hf_model": "hf:"}
"""What is put before the names of networks that come from elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run to be: plain data, so that it can be hashed, logged and sent to a worker.

    `axes` holds the value of every axis of the sweep, the neutral ones too; `swept` of the other keys with several
    values. `config` is the effective configuration, to be logged: it decides nothing here.
    """

    label: str
    axes: Mapping[str, Any]
    swept: Mapping[str, Any]
    chain: Chain
    eval_side: int
    """The side in pixels at which the network is evaluated."""
    coder: Coder
    reference_bytes: int
    """The uncompressed reference's float32 bytes."""
    reference_key: str | None = None
    """The key of this point's reference; None when the point is a reference itself."""
    is_control: bool = False
    """Whether this is the uncompressed network with an axis that moves no cost: beside it, other points show what their
    techniques cost."""
    is_refined: bool = False
    """Whether this is none of the grid's, but was added where the grid's results asked for more (`sweep.refine`)."""
    config: Mapping[str, Any]
    resolved: Mapping[str, Any] = field(default_factory=dict)
    """The configuration that makes this run again, as its file holds it; it decides nothing here."""
    watching: Watching = field(default_factory=Watching)
    """How its trainings are followed."""
    network_as_given: str | None = None
    """What the user called the network by, where that is neither a name of effbench's nor one of its options."""

    @cached_property
    def key(self) -> str:
        """The key of the run: of its network, its file and where it is evaluated."""
        version = CODER_VERSIONS[self.coder]
        return digest(
            {
                "model": self.chain.key,
                "coder": self.coder if version == 1 else f"{self.coder} {version}",
                "eval_side": self.eval_side,
                "reference_bytes": self.reference_bytes,
                "version": RESULT_VERSION,
            }
        )

    @property
    def seed(self) -> int:
        """The seed of its chain."""
        return self.chain.seed

    @property
    def is_reference(self) -> bool:
        """Whether this is the uncompressed control of other points."""
        return self.reference_key is None

    @property
    def network_name(self) -> str:
        """The name under which the network is logged."""
        network = self.chain.network
        # timm and torchvision both have a resnet18.
        return self.network_as_given or _SOURCES.get(network.target, "") + str(
            network.options.get("name", network.name)
        )

    @property
    def data_name(self) -> str:
        """The name under which the data set is logged."""
        return self.chain.loaded_data().name

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, side, side) of one input as it is evaluated."""
        return (self.chain.loaded_data().channels, self.eval_side, self.eval_side)

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
        """The same for the same grid of runs, in whatever order they were asked for, refined or not."""
        return digest({"runs": sorted(point.key for point in self.points if not point.is_refined)})[:12]

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        """The names of all steps, in alphabetical order."""
        return tuple(sorted({step.name for point in self.points for step in point.chain.plain_steps}))

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The axes of the sweep."""
        return tuple(dict.fromkeys(axis for point in self.points for axis in point.axes))

    def with_points(self, points: Iterable[Point], /) -> Plan:
        """Return the plan with points that refining added, after its own; those whose keys it has are there already."""
        return Plan.of([*self.points, *points])

    def reference_of(self, point: Point) -> Point:
        """Return the uncompressed control that a point is compared with."""
        key = point.reference_key or point.key
        return next(candidate for candidate in self.points if candidate.key == key)
