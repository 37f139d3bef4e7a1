"""What a command asks for beside its points: measuring, tracking, the store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from effbench.plan.blueprint import Blueprint
from effbench.plan.point import Plan

MAX_THREADS = 256
"""More than any network of the bench profits from; a system stands still under thousands."""


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """How latency is measured: every engine with every batch size and number of threads."""

    batch: tuple[int, ...]
    threads: tuple[int, ...]
    seconds: float
    """Of timing for each model and engine."""

    def __post_init__(self) -> None:
        """Refuse what can't be measured."""
        for name in ("batch", "threads"):
            for value in getattr(self, name):
                if value < 1:
                    raise ValueError(f"{name}={value}: must be 1 or more")
        if max(self.threads) > MAX_THREADS:
            raise ValueError(f"threads={max(self.threads)}: must be at most {MAX_THREADS}")
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds={self.seconds}: must be above 0")


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """Where runs are logged. `uri` None: see `effbench.tracking.location`."""

    uri: str | None
    experiment: str

    def __post_init__(self) -> None:
        """Refuse what is no name."""
        if not self.experiment.strip():
            raise ValueError(f"experiment={self.experiment}: must be a name, such as effbench")


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where models and results are kept."""

    root: str

    def __post_init__(self) -> None:
        """Refuse what is no folder."""
        if not self.root.strip():
            raise ValueError(f"root={self.root}: must be a folder, such as .effbench")


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """How the runs of a sweep are spread over the machine."""

    jobs: int | float | str


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A whole sweep, checked, as plain typed objects."""

    plan: Plan
    device: torch.device
    tolerance: float
    engines: Mapping[str, Blueprint]
    measure: MeasureSettings
    tracking: TrackingSettings
    store: StoreSettings
    jobs: int | None
    """How many runs at once; None: as many as pay off."""
    launcher: tuple[str, ...]
    """Overrides of the Hydra launcher that runs the points; empty: effbench itself."""
    dry_run: bool
    """Only print the plan."""
    realised: Mapping[str, Mapping[str, str]]
    """By axis and cost: how real a saving is."""
    neutral: Mapping[str, object]
    """The neutral value of each axis of the sweep."""
    command: str
