"""What a sweep gave, in Python: its runs as a table, its answers, figures and networks."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from effbench.analysis import Counts, Saturation, pareto_front, plot_saturation, saturation_point
from effbench.analysis.definitions.methods import with_tolerance
from effbench.checks.fields import shown
from effbench.codec import decode
from effbench.plan.point import Point
from effbench.plan.sweep import Sweep
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.sweep.as_html import image_html, table_html
from effbench.sweep.carry_out import SweepOutcome
from effbench.sweep.documents import markdown
from effbench.sweep.messages import plain
from effbench.sweep.printout import Printout
from effbench.sweep.records import quality_columns
from effbench.tracking import names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import nn


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SweepResult:
    """What `effbench.run_sweep` returns; in a notebook it shows its answer, figure and table.

    `print(result)` writes what the command would print.

    Examples
    --------
    >>> import effbench
    >>> keys = {"train": {"epochs": 0}, "finetune": {"epochs": 0}, "measure": {"seconds": 0.01}}
    >>> result = effbench.run_sweep(prune=[0.5], model="lenet_300_100", progress=False, **keys)
    >>> list(result.runs["point"]), result.is_whole
    (['reference', 'prune=0.5'], True)
    >>> network = result.model(prune=0.5, seed=0)  # ready to use: its weights are those of the run's file
    >>> bool((network.fc1.weight == 0).any())
    True
    """

    sweep_id: str
    """The same for the same runs, whoever asked for them; `effbench.load_runs(sweep=…)` reads them again."""
    runs: pd.DataFrame
    """One row per finished run: the columns of `effbench.load_runs`, but for what MLflow alone knows."""
    failures: Mapping[str, str]
    """Why runs failed, by their point and seed."""
    n_missing: int
    """How many runs are not there because the sweep was interrupted; the same call goes on with them."""
    counts: Counts | None
    test_counts: Counts | None
    """What each validation example adds to the runs' quality; None where these have not the same examples."""
    is_whole: bool
    """Whether every run is there, measured and logged."""
    _sweep: Sweep
    _printout: Printout
    _store: Store

    @classmethod
    def of(
        cls, sweep: Sweep, outcome: SweepOutcome, printout: Printout, store: Store, /, *, is_logged: bool
    ) -> SweepResult:
        """Return the result of a sweep that was carried out, as far as it was."""
        return cls(
            sweep_id=sweep.plan.sweep_id,
            runs=outcome.frame,
            failures={name: error.summary for name, error in outcome.failures.items()},
            n_missing=outcome.n_missing,
            counts=outcome.counts,
            test_counts=outcome.test_counts,
            is_whole=outcome.is_whole and is_logged,
            _sweep=sweep,
            _printout=printout,
            _store=store,
        )

    def saturation(
        self, cost: str | None = None, *, model: str | None = None, method: str | None = None, **options: Any
    ) -> Saturation:
        """Return where compression stops being free: see `effbench.saturation_point`, also for its errors.

        The method and the tolerance are the sweep's own unless others are given. Where no run is finished there is no
        point, and the reason says so.
        """
        method, options = self._with(cost, method, options)
        if not len(self.runs):
            quality = quality_columns(self._sweep.plan.points[0])[f"{names.QUALITY}_name"]
            return Saturation(
                point=None,
                reason="no run is finished yet: the same call goes on",
                method=method,
                cost=cost or "size_bytes",
                quality=f"{quality}_val",
            )
        return saturation_point(
            self.runs,
            cost=cost,
            model=model,
            method=method,
            counts=self.counts,
            test_counts=self.test_counts,
            **options,
        )

    def front(self, cost: str | None = None, *, model: str | None = None) -> pd.DataFrame:
        """Return the points that no other point beats, by cost: see `effbench.pareto_front`, also for its errors."""
        if not len(self.runs):
            return self.runs
        return pareto_front(self.runs, cost=cost, model=model)

    def plot(
        self,
        cost: str | None = None,
        *,
        ax: Axes | None = None,
        model: str | None = None,
        method: str | None = None,
        **options: Any,
    ) -> Axes:
        """Draw quality against cost: see `effbench.plot_saturation`, also for its errors."""
        if not len(self.runs):
            raise ValueError("no run is finished yet: the same call goes on, and there is something to draw then")
        method, options = self._with(cost, method, options)
        return plot_saturation(
            self.runs,
            cost=cost,
            ax=ax,
            model=model,
            method=method,
            counts=self.counts,
            test_counts=self.test_counts,
            **options,
        )

    def model(self, *, reference: bool = False, **where: Any) -> nn.Module:
        """Return the network of a run, read from its file: on the CPU, in evaluation mode, ready to use.

        where: values of axes, of the seed and of other swept keys (a dot as __), as many as tell the run from others.
        An axis that is left out is at its neutral value where that leaves a run. reference: the uncompressed one.
        ValueError where no run, or more than one, is meant; the message says which there are.
        """
        point = self._point(reference, {name.replace("__", "."): value for name, value in where.items()})
        kept = load_result(point.key, self._store)
        if kept is None:
            was_run = point.key in set(self.runs["run_key"] if len(self.runs) else ())
            what = f"its file is gone from {self._store.root}; the same call makes it again"
            raise ValueError(f"{point}: {what if was_run else 'has not been run; the same call goes on with it'}")
        return decode(kept.blob, point.chain.fresh_network()).eval()

    def report(self) -> str:
        """Return the answer in Markdown: what asked for it, what was found, and the table of points."""
        return markdown(replace(self._printout, lines=[*self._interrupted(), *self._printout.lines]))

    def _interrupted(self) -> list[str]:
        return [f"interrupted: {self.n_missing} runs are missing; the same call goes on with them"] * (
            self.n_missing > 0
        )

    def __repr__(self) -> str:
        missing = f", {self.n_missing} missing" if self.n_missing else ""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"SweepResult({self.sweep_id}: {len(self.runs)} runs{failed}{missing})"

    def __str__(self) -> str:
        return "\n".join([self._printout.text(), *self._interrupted()])

    def _repr_html_(self) -> str:
        """Return the answer, the figure and the table as a notebook shows them."""
        said = "".join(
            f"<li>{html.escape(plain(line))}</li>" for line in [*self._interrupted(), *self._printout.said()]
        )
        table, image = self._printout.table, image_html(self._printout.figure, self._sweep.figure.format)
        rows = "" if table is None else table_html(table)
        return f"<div><ul>{said}</ul>{image}{rows}<p>{html.escape(plain(self._printout.runs))}</p></div>"

    def _with(self, cost: str | None, method: str | None, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the sweep's own method with its options, or another one with the sweep's tolerance, if it has one."""
        settings, tolerance = self._sweep.saturation, self._sweep.tolerance
        if method not in (None, settings.method):
            return str(method), with_tolerance(str(method), options, tolerance)
        own = {"price": settings.prices.get(cost or "size_bytes")} if settings.method == "price" else settings.options
        return settings.method, with_tolerance(settings.method, {**own, **options}, tolerance)

    def _point(self, reference: bool, where: Mapping[str, Any]) -> Point:
        plan = self._sweep.plan
        points = [point for point in plan.points if point.is_reference or not reference]
        known = dict.fromkeys(("seed", "model", "data", *plan.axes, *(key for p in plan.points for key in p.swept)))
        for name in where:
            if name not in known:
                raise ValueError(f"{name}={where[name]}: the sweep has {', '.join(known)}")
        for name, value in where.items():
            points = [point for point in points if any(_is_equal(own, value) for own in _values(point, name))]
        for name in () if reference else plan.axes:
            neutral = [p for p in points if p.is_reference or p.axes[name] == plan.reference_of(p).axes[name]]
            points = neutral if name not in where and neutral else points
        if len(points) == 1:
            return points[0]
        asked = ", ".join(f"{name}={value}" for name, value in where.items()) or "nothing"
        what = "no run is" if not points else f"{len(points)} runs are"
        there = "; ".join(str(point) for point in (points or plan.points))
        raise ValueError(f"{what} meant by {asked}: give what tells them apart; there are {there}")


def _values(point: Point, name: str) -> list[Any]:
    """Return what a point has under a name: a network is meant by the name of its class, too."""
    own: dict[str, list[Any]] = {
        "seed": [point.seed],
        "model": [point.network_name, point.chain.network.name],
        "data": [point.data_name],
    }
    return [*own.get(name, []), *(values[name] for values in (point.swept, point.axes) if name in values)]


def _is_equal(own: Any, value: Any) -> bool:
    """Whether a point has a value: 1 is 1.0, "0.5" of a swept key 0.5, "true" True."""
    if isinstance(own, str) and not isinstance(value, str):
        return own == shown(value)
    if isinstance(own, int | float) and isinstance(value, int | float):
        return math.isclose(own, value, rel_tol=1e-9)
    return bool(own == value)
