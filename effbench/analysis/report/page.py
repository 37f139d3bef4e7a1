"""The report of a sweep: one HTML page that needs nothing beside it, neither a server nor JavaScript.

All text reaches the page through a template that escapes it (jinja2, autoescape).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from effbench.analysis.answers import Answer
from effbench.analysis.curves.quality import Quality
from effbench.analysis.nominal import nominal_and_real, not_faster, speedups_without_interval
from effbench.analysis.report.axes_panel import axes_panels
from effbench.analysis.report.duties import Duty, duties
from effbench.analysis.report.figure import panels_of
from effbench.analysis.report.heat_map import heat_maps
from effbench.analysis.report.method_table import method_rows
from effbench.analysis.report.nominal_panel import nominal_panels
from effbench.analysis.report.panel import PageOf
from effbench.analysis.report.sensitivity_cells import sensitivity_cells
from effbench.analysis.report.training_panels import training_panels

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TEMPLATE = "page.html"
_VERDICTS = {"as predicted": "met", "partly": "partly", "none": "missing", "slower": "missing"}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table as it is shown."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_names: int = 1
    """So many columns at the left say what a row is; the others are numbers."""


def _nowhere(_: Sequence[str]) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """What the page is made of."""

    title: str
    frame: pd.DataFrame
    """A row per run, as `effbench.load_runs` gives it."""
    found: Sequence[Answer]
    tolerance: float
    asked: Mapping[str, str]
    """What was asked, by a word for each: axes with their values, network, data, seeds, recipe."""
    table: Grid | None
    """A row per point."""
    lines: Sequence[str] = ()
    """What is said below the answers."""
    problems: Sequence[str] = ()
    """Runs that failed, were not finished, or lack something: a line each, with their names."""
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    """What does it again."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs: it is written into the page as strict JSON."""
    page_of: PageOf = _nowhere
    tables: Mapping[str, Mapping[str, pd.DataFrame]] = field(default_factory=dict)
    """Training curves and sensitivities of some runs, by the runs' names."""
    n_without_tables: int = 0
    """How many runs there are beside those."""


def report_page(report: Report, /) -> str:
    """Return the page as HTML.

    What is no valid text (half a letter of UTF-16, a control character) is replaced by a mark. The same report gives
    the same page.
    """
    nominal = nominal_and_real(report.frame)
    text = _template().render(
        report=report,
        panels=panels_of(report.found, tolerance=report.tolerance, page_of=report.page_of),
        **_pictures(report, nominal),
        methods=method_rows(report.found),
        duties=_duties(report.frame),
        nominal=_nominal_grid(nominal),
        verdicts=[_VERDICTS.get(str(verdict), "") for verdict in nominal["verdict"]] if len(nominal) else [],
        not_faster=not_faster(nominal) if len(nominal) else [],
        rough=speedups_without_interval(report.frame),
        record=strict_record(report.record),
        details=[line for answer in report.found for line in answer.details],
        has_seeds=_has_seeds(report.frame),
    )
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.encode("utf-8", "replace").decode("utf-8"))


def _pictures(report: Report, nominal: pd.DataFrame) -> dict[str, Any]:
    """Return what is drawn beside the qualities against the costs, each only where there is something to show."""
    found, page_of = report.found, report.page_of
    try:
        quality = Quality.of_frame(report.frame)
        training = training_panels(report.tables, quality)
    except (ValueError, KeyError):  # of several qualities, or none
        training = []
    return {
        "axes_panels": axes_panels(found, page_of=page_of),
        "heat_maps": heat_maps(found, tolerance=report.tolerance, page_of=page_of),
        "nominal_panels": nominal_panels(nominal) if len(nominal) else [],
        "training_panels": training,
        "sensitivities": sensitivity_cells(report.tables),
    }


def strict_record(value: Any, /) -> Any:
    """Return a value as strict JSON has it: what is no finite number is null.

    >>> strict_record({"loss": float("nan"), "all": (1, float("inf"), True, None)})
    {'loss': None, 'all': [1, None, True, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): strict_record(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [strict_record(own) for own in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _duties(frame: pd.DataFrame) -> list[Duty]:
    try:
        return duties(frame)
    except ValueError as error:  # such as a mixture of qualities
        return [Duty(name="one quality of all runs", state="missing", said=str(error))]


def _has_seeds(frame: pd.DataFrame) -> bool:
    return "seed" in frame.columns and frame["seed"].nunique() > 1


def _nominal_grid(nominal: pd.DataFrame) -> Grid | None:
    """Return what multiply-adds promise beside what engines gave; None where nothing was measured."""
    if not len(nominal):
        return None
    rows = [
        (
            str(row.point),
            str(row.engine),
            _times(row.size_bytes_ratio),
            _times(row.macs_effective_ratio),
            f"{_times(row.speedup)} ({row.speedup_low:.2f} to {row.speedup_high:.2f})",
            str(row.verdict),
        )
        for row in nominal.itertuples()
    ]
    headings = ("point", "engine", "bytes saved", "promised by multiply-adds", "measured (95 %)", "real?")
    return Grid(headings=headings, rows=rows, n_names=2)


def _times(ratio: Any) -> str:
    return f"{ratio:.2f}×" if isinstance(ratio, float) and math.isfinite(ratio) else ""


@lru_cache(maxsize=1)
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    rules = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=loader, **rules)  # type: ignore[arg-type]
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": True, "separators": (",", ":")}
    return environment.get_template(_TEMPLATE)
