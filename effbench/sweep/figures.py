"""The figures of a sweep as files, in each format that was asked for; those of equal values are drawn once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from matplotlib.figure import Figure

from effbench.analysis import Answer, answers_figure, figure_bytes, nominal_and_real, plot_nominal
from effbench.analysis.figures.saving import Format
from effbench.plan.sweep import Sweep
from effbench.run.store import Store
from effbench.sweep.carry_out import SweepOutcome

FIGURE_VERSION = 6
"""Bumped when the figure of equal values comes to be drawn in another way."""
SATURATION, NOMINAL = "saturation", "nominal"
"""The names of the figures, without their formats."""


def former_figures(folder: Path, files: Collection[str], /) -> list[Path]:
    """Return the figures in a sweep's folder that are none of the files it now has."""
    names = [f"{name}.{ending}" for name in (SATURATION, NOMINAL) for ending in get_args(Format)]
    return [folder / name for name in names if name not in files and (folder / name).is_file()]


def saturation_files(found: Sequence[Answer], sweep: Sweep, outcome: SweepOutcome, store: Store, /) -> dict[str, bytes]:
    """Return the figure of answers by the names of its files; none where no answer has a cost."""
    drawn = [answer for answer in found if answer.cost is not None]
    if not drawn:
        return {}
    asked = (sweep.saturation.method, sweep.saturation.options, sweep.tolerance)
    digest = hashlib.sha256(f"{FIGURE_VERSION} {asked} {version('matplotlib')}".encode())
    for answer in drawn:
        digest.update(f"\n{answer.group} {answer.cost}\n{answer.runs.to_csv()}".encode())
    for counts in (outcome.counts, outcome.test_counts):
        for key, values in sorted(() if counts is None else counts.by_run.items()):
            digest.update(key.encode() + values.tobytes())
    return _files(SATURATION, digest.hexdigest(), lambda: answers_figure(drawn), sweep, store)


def nominal_files(sweep: Sweep, outcome: SweepOutcome, store: Store, /) -> dict[str, bytes]:
    """Return the figure of what is nominal and what is real, by the names of its files; latency was measured."""
    values = nominal_and_real(outcome.frame).to_csv()
    digest = hashlib.sha256(f"nominal {FIGURE_VERSION} {version('matplotlib')}\n{values}".encode())

    def draw() -> Figure:
        figure = Figure(figsize=(6.4, 4.8), layout="constrained")
        plot_nominal(outcome.frame, ax=figure.add_subplot())
        return figure

    return _files(NOMINAL, digest.hexdigest(), draw, sweep, store)


def _files(name: str, digest: str, draw: Callable[[], Figure], sweep: Sweep, store: Store) -> dict[str, bytes]:
    """Return the files of a figure, which the store keeps: drawing takes a second or two."""
    files: dict[str, bytes] = {}
    figure = None
    for form in sweep.figure.format:
        entry = f"figures/{digest[:20]}.{form}"
        kept = store.get(entry)
        if kept is None:
            figure = draw() if figure is None else figure
            kept = figure_bytes(figure, form)
            store.put(entry, kept)
        files[f"{name}.{form}"] = kept
    return files
