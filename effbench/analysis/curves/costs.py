"""The costs: what they are called, in which units they are read, and which of them a sweep moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from effbench.analysis.curves.averages import average_runs
from effbench.analysis.curves.columns import belongs_to, parse_numbers
from effbench.analysis.curves.groups import split_groups
from effbench.analysis.curves.jitter import LATENCY, LATENCY_P90, varies
from effbench.analysis.curves.quality import Quality

_DECIMAL = ((1.0, ""), (1e3, "K"), (1e6, "M"), (1e9, "G"))
_MACS = tuple((size, f"{prefix} MACs".strip()) for size, prefix in _DECIMAL)
_TRAINING_MACS = (*_MACS, (1e12, "T MACs"), (1e15, "P MACs"), (1e18, "E MACs"))
_BYTES = ((1.0, "bytes"), (1e3, "KB"), (1e6, "MB"), (1e9, "GB"))
_TIME = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))


@dataclass(frozen=True, kw_only=True)
class CostWords:
    """How a cost is written."""

    title: str
    """On an axis, without its unit."""

    share: str
    """In a sentence, after a ratio: "0.41× ..."."""

    units: tuple[tuple[float, str], ...] = ((1.0, ""),)
    """(size of the unit, its symbol), ascending."""

    def unit_for(self, low: float, high: float) -> tuple[float, str]:
        """Return the unit in which values from `low` to `high` read best: the largest one below their middle."""
        middle = float(np.sqrt(low * high)) if low > 0 else high / 2
        return next((unit for unit in reversed(self.units) if middle >= unit[0]), self.units[0])


_WORDS = {
    "size_bytes": CostWords(title="file size", share="the bytes", units=_BYTES),
    "macs_effective": CostWords(
        title="effective multiply-adds",
        share="the effective multiply-adds",
        units=_MACS,
    ),
    "macs": CostWords(
        title="multiply-adds",
        share="the multiply-adds",
        units=_MACS,
    ),
    "flops": CostWords(
        title="compute", share="the FLOPs", units=tuple((size, f"{prefix}FLOPs") for size, prefix in _DECIMAL)
    ),
    "params": CostWords(title="parameters", share="the parameters", units=_DECIMAL),
    "params_nonzero": CostWords(title="non-zero parameters", share="the non-zero parameters", units=_DECIMAL),
    "peak_memory_bytes": CostWords(title="peak memory", share="the peak memory", units=_BYTES),
    "energy_modelled_uj": CostWords(
        title="modelled energy", share="the modelled energy", units=((1.0, "µJ"), (1e3, "mJ"), (1e6, "J"))
    ),
    "train_seconds": CostWords(title="training time", share="the training time", units=((1.0, "s"),)),
    "train_seconds_total": CostWords(
        title="training time, cached parts included", share="the training time, cached parts included", units=_TIME
    ),
    "train_macs": CostWords(title="training compute", share="the training compute", units=_TRAINING_MACS),
    "teacher_seconds": CostWords(title="teacher's time", share="the teacher's time", units=_TIME),
    "teacher_macs": CostWords(title="teacher's compute", share="the teacher's compute", units=_TRAINING_MACS),
    "train_memory_mb": CostWords(title="training memory", share="the training memory", units=((1.0, "MB"),)),
}
_ON_ENGINES = (
    (LATENCY, "latency", "ms"),
    (LATENCY_P90, "90th-percentile latency", "ms"),
    ("energy_mj/", "energy", "mJ"),
)
_CHOICES = ("size_bytes", "macs_effective", "macs")


def cost_words(cost: str, /) -> CostWords:
    """Return how a cost is written; a cost that is not effbench's own goes by its column's name.

    >>> cost_words("latency_ms/eager").share
    'the latency (eager)'
    >>> cost_words("energy_mj/eager").title
    'energy, eager'
    """
    for prefix, title, unit in _ON_ENGINES:
        if cost.startswith(prefix):
            engine = cost.removeprefix(prefix)
            return CostWords(title=f"{title}, {engine}", share=f"the {title} ({engine})", units=((1.0, unit),))
    return _WORDS.get(cost, CostWords(title=cost, share=f"the {cost}"))


def varying_costs(frame: pd.DataFrame) -> list[str]:
    """Return those of size_bytes, macs_effective, macs and latency (latency_ms/...) that vary over the points.

    frame: one row per run. A cost varies where a point differs from its own reference, on the seeds of both, by more
    than such costs jitter: 2 % of bytes and multiply-adds, 10 % of a latency, or less where the interval of its
    speed-up (`speedup_low/...`, `speedup_high/...`) excludes 1. A cost that no swept axis moves does not vary, where
    `frame.attrs["moves"]` says what each axis moves. A column that was never measured does not, a partly measured one
    is judged by what is there. Of several groups (`split_groups`) one is enough. ValueError when none varies.

    >>> varying_costs(pd.DataFrame({"size_bytes": [400, 100], "macs": [7, 7], "latency_ms/eager": [1.00, 1.04]}))
    ['size_bytes']
    """
    groups = split_groups(frame).values()
    varying = [cost for cost in _known_costs(frame) if any(varies(group, cost) for group in groups)]
    if not varying:
        known = _known_costs(frame)
        n_points = len(average_runs(frame).n_runs)
        problem = f"none of {known} varies over the {n_points} points" if known else "the frame has no cost of effbench"
        raise ValueError(f"{problem}: name a column with cost=")
    return varying


def chosen_cost(frame: pd.DataFrame, cost: str | None, /) -> str:
    """Return `cost`, or for None the first cost that varies. ValueError lists the columns there when it is unknown."""
    if cost is None:
        # One point can't vary; it still deserves the answer "too few points".
        too_few = len(average_runs(frame).n_runs) < 2
        known = _known_costs(frame)
        return known[0] if too_few and known else varying_costs(frame)[0]
    if cost not in frame.columns:
        numeric = [str(name) for name in frame.columns if parse_numbers(frame[name]) is not None]
        raise ValueError(f"no cost column {cost!r}; the frame has {_known_costs(frame) or numeric}")
    quality = Quality.of_frame(frame)
    is_quality = quality.direction == "higher" and belongs_to(cost, [quality.name])
    if is_quality or cost.startswith(("size_ratio", "coding_gain", "speedup", "throughput/")):
        raise ValueError(f"cost={cost!r} is better when higher; a cost is better when lower")
    return cost


def costs_that_vary(runs: pd.DataFrame, /) -> list[str]:
    """Return the costs that vary in one group of runs, as `varying_costs` does, but none where none does."""
    return [cost for cost in _known_costs(runs) if varies(runs, cost)]


def counted_costs_that_vary(runs: pd.DataFrame, /) -> list[str]:
    """Return those of them that are counted: all but latency."""
    return [cost for cost in costs_that_vary(runs) if not cost.startswith(LATENCY)] if len(runs) else []


def _known_costs(frame: pd.DataFrame) -> list[str]:
    latencies = [str(name) for name in frame.columns if str(name).startswith(LATENCY)]
    return [cost for cost in (*_CHOICES, *latencies) if cost in frame.columns]
