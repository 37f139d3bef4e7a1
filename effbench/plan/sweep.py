"""A whole sweep as plain typed objects: its points, and what is asked for beside them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from effbench.analysis.figures.saving import FORMATS, Format
from effbench.checks.fields import check_fields, shown
from effbench.checks.sizes import n_bytes
from effbench.plan.blueprint import Blueprint
from effbench.plan.point import Plan, Point
from effbench.plan.refinement import Refinement

MAX_THREADS = 256
"""More than any network of the bench profits from; a system stands still under thousands."""

MAX_BATCH = 65_536
"""Inputs: more than any memory holds the activations of."""

MAX_REFINED = 100
"""More values than any bisection takes: a bracket is closed after seven."""

AtLeastOne = Annotated[int, Field(ge=1)]
Threads = Annotated[int, Field(ge=1, le=MAX_THREADS)]


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """How latency is measured: every engine with every batch size and number of threads."""

    batch: tuple[Annotated[int, Field(ge=1, le=MAX_BATCH)], ...]
    threads: tuple[Threads, ...]
    seconds: Annotated[float, Field(gt=0)]
    """Of timing for each model and engine."""
    disturbed: Literal["discard", "keep"] = "discard"
    """What becomes of a pass that others disturbed: told, read to one digit, made anew; or told, and taken as it is."""
    points: Literal["front", "all"] = "front"
    """Of a sweep with many points: those that no other point beats, and the references; or all."""
    memory: Annotated[str | int | float, Field(description="a size, such as 2GB")] | None = None
    """How much memory the models may take that are measured together, as in 2GB; None: half of what is free then."""

    def __post_init__(self) -> None:
        """Refuse what can't be measured."""
        check_fields(self)
        self.memory_bytes()

    def memory_bytes(self) -> int | None:
        """Return `memory` in bytes. ValueError where it is no size."""
        try:
            return None if self.memory is None else n_bytes(self.memory)
        except ValueError as error:
            raise ValueError(f"memory={error}") from None


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """Where runs are logged. `uri` None: see `effbench.tracking.location`."""

    uri: str | None
    experiment: Annotated[str, Field(pattern=r"\S", description="a name, such as effbench")]
    artifacts: Annotated[str, Field(pattern=r"\S", description="a folder, or a URI such as s3://bucket")] | None = None
    """Where the files of a new experiment go; None: beside a SQLite database, else where the server keeps them."""
    log_model: bool = False
    """Whether each run's network is logged as one of MLflow's own models, too."""

    def __post_init__(self) -> None:
        """Refuse what is no name."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where models and results are kept, and how many of them."""

    root: Annotated[str, Field(pattern=r"\S", description="a folder, such as .effbench")]
    keep: Literal["needed", "all"] = "needed"
    """`needed` drops networks that are only passed through once their points are done, see `plan.needs`."""
    limit: str | int | None = None
    """The most that the store may hold, as in 20GB; None: no limit."""

    def __post_init__(self) -> None:
        """Refuse what is no folder and no limit; ~ is the user's home, which no shell writes out after a key."""
        check_fields(self)
        object.__setattr__(self, "root", os.path.expanduser(self.root))
        _ = self.limit_bytes

    @property
    def limit_bytes(self) -> int | None:
        """The limit as a number of bytes."""
        try:
            return None if self.limit is None else n_bytes(self.limit)
        except ValueError as error:
            raise ValueError(f"limit={error}") from None


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """How the runs of a sweep are spread over the machine, and how many more follow from their results."""

    jobs: Literal["auto"] | AtLeastOne
    timeout: Annotated[float, Field(gt=0, description="seconds")] | None
    refine: Annotated[int, Field(ge=0, le=MAX_REFINED)] = 0
    """How many more values each ordered axis may have, between the grid's or beyond them."""

    def __post_init__(self) -> None:
        """Refuse what is no number of workers."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class SaturationSettings:
    """By which definition the saturation point is found; each takes the options that are its own."""

    method: Literal["tolerance", "tolerance_bound", "kneedle", "marginal", "price"] = "tolerance"
    sensitivity: Annotated[float, Field(ge=0)] = 1.0
    """Of `kneedle`."""
    cost_axis: Literal["linear", "log"] = "linear"
    """Of `kneedle`: over which the front is drawn."""
    rate: Annotated[float, Field(gt=0, description="points for a doubling of the cost")] = 1.0
    """Of `marginal`."""
    price: float | dict[str, float] | None = None
    """Of `price`: units of a cost for a point of quality, by cost; a number is of bytes."""

    def __post_init__(self) -> None:
        """Refuse what is no definition, and a price that is not given."""
        check_fields(self)
        if self.method == "price" and not self.price:
            raise ValueError(
                "method=price: give saturation.price=, what a point of quality is worth: bytes, or by cost, "
                "as in {size_bytes: 20000, macs: 1e6}"
            )
        wrong = [price for price in self.prices.values() if not price > 0]
        if wrong:
            raise ValueError(f"price={wrong[0]:g}: must be above 0, what a point of quality is worth")

    @property
    def prices(self) -> dict[str, float]:
        """The prices by cost."""
        return self.price if isinstance(self.price, dict) else {} if self.price is None else {"size_bytes": self.price}

    @property
    def options(self) -> dict[str, Any]:
        """The options of the method, beside a tolerance."""
        own = {"kneedle": ("sensitivity", "cost_axis"), "marginal": ("rate",)}
        if self.method == "price":
            return {"price": self.prices}
        return {name: getattr(self, name) for name in own.get(self.method, ())}


@dataclass(frozen=True, kw_only=True)
class FigureSettings:
    """How figures are written."""

    format: tuple[Format, ...] = ("png",)
    """The formats of files; the first one is the figure that the command names."""

    def __post_init__(self) -> None:
        """Refuse what is no format; one that is given twice is written once."""
        for form in self.format:
            if form not in FORMATS:
                raise ValueError(f"format={shown(form)}: must be {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
        check_fields(self)
        object.__setattr__(self, "format", tuple(dict.fromkeys(self.format)))


@dataclass(frozen=True, kw_only=True)
class AxisFacts:
    """What is known of a swept axis beside its values."""

    realised: Mapping[str, str]
    """How real a saving is, by cost."""
    moves: Sequence[str]
    """The costs that it changes."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A whole sweep, checked."""

    plan: Plan
    device: torch.device
    tolerance: float
    saturation: SaturationSettings = SaturationSettings()
    figure: FigureSettings = FigureSettings()
    engines: Mapping[str, Blueprint]
    measure: MeasureSettings
    tracking: TrackingSettings
    store: StoreSettings
    jobs: int | None
    """How many runs at once; None: as many as pay off."""
    timeout: float | None = None
    """The seconds that a run may take, after which it fails; None: as many as it takes."""
    launcher: tuple[str, ...]
    """Overrides of the Hydra launcher that runs the points; empty: effbench itself."""
    config_folders: tuple[str, ...] = ()
    """The user's folders of configuration, absolute."""
    callbacks: Mapping[str, Any] = field(default_factory=dict)
    """The configuration, with Hydra's node, whose callbacks are told of runs; empty where it names none."""
    dry_run: bool
    """Only print the plan."""
    axes: Mapping[str, AxisFacts]
    """The axes of the sweep, by name."""
    name: str
    """What was asked for beside the defaults: the name of the parent run."""
    command: str
    """What runs it: a command line, or a call in Python."""
    arguments: tuple[str, ...] = ()
    """Those of the command line; of a call in Python, as that would say it. No secret is in them."""
    refinement: Refinement = field(default_factory=Refinement)
    """What may be added to the plan once its runs are done."""

    def with_points(self, points: Iterable[Point], /) -> Sweep:
        """Return the sweep with points that refining added; its id stays."""
        return replace(self, plan=self.plan.with_points(points))
