"""What many runs logged, by name: read from a database or from a server, before it becomes a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

MISSING = float("nan")
"""Stands where a run logged nothing under a name."""


@dataclass(frozen=True)
class Values:
    """The params of some runs, or their metrics, or tags. Runs with the same names in the same order share a layout."""

    layouts: Sequence[tuple[str, ...]]
    """The names that runs logged, in the order in which they did."""
    layout_of: NDArray[np.intp]
    """(n_runs,) The position of each run's layout."""
    names: Sequence[str]
    cells: NDArray[Any]
    """(n_runs, n_names) MISSING where a run did not log the name."""

    @classmethod
    def gather(
        cls, layouts: Iterable[tuple[str, ...]], values: Iterable[Any], /, *, runs: Sequence[int], n_runs: int
    ) -> Values:
        """Return the values of `n_runs` runs.

        layouts: the names that each of `runs` logged (others logged none). values: theirs, run after run: an array of
        floats, or anything.
        """
        known: dict[tuple[str, ...], int] = {(): 0}
        layout_of = np.zeros(n_runs, dtype=np.intp)
        numbers = [known.setdefault(layout, len(known)) for layout in layouts]
        layout_of[list(runs)] = numbers
        codes = {name: code for code, name in enumerate(dict.fromkeys(chain.from_iterable(known)))}
        coded = [np.array([codes[name] for name in layout], dtype=np.intp) for layout in known]
        flat = values if isinstance(values, np.ndarray) else np.fromiter(values, dtype=object)
        cells = np.full((n_runs, len(codes)), MISSING, dtype=flat.dtype)
        own, sizes = np.array(numbers, dtype=np.intp), np.array([len(columns) for columns in coded], dtype=np.intp)
        rows, starts = np.array(runs, dtype=np.intp), np.cumsum(sizes[own]) - sizes[own]
        for number in np.unique(own):  # runs of one layout together
            same = own == number
            cells[np.ix_(rows[same], coded[number])] = flat[starts[same, None] + np.arange(sizes[number])]
        return cls(tuple(known), layout_of, tuple(codes), cells)

    def column(self, name: str, /, default: object = MISSING) -> NDArray[Any]:
        """Return what every run logged under a name: (n_runs,), with `default` for those that did not."""
        if name not in self.names:
            return np.full(len(self.cells), default, dtype=object)
        values: NDArray[Any] = self.cells[:, self.names.index(name)]
        if default is not MISSING:
            values = values.copy()
            values[~self.has(name)] = default
        return values

    def has(self, name: str, /) -> NDArray[np.bool_]:
        """Return which runs logged something under a name: (n_runs,)."""
        return np.array([name in layout for layout in self.layouts])[self.layout_of]

    def take(self, runs: Sequence[int], /) -> Values:
        """Return the values of some of the runs, in the order given."""
        rows = np.array(runs, dtype=np.intp)
        return Values(self.layouts, self.layout_of[rows], self.names, self.cells[rows])


@dataclass(frozen=True)
class LoggedRuns:
    """Runs with a run key in MLflow's own order: the latest start first, then by id."""

    ids: Sequence[str]
    statuses: Sequence[str]
    starts: NDArray[np.int64]
    """(n_runs,) When each began, in milliseconds since 1970."""
    params: Values
    metrics: Values
    tags: Values
    """Those that `names.READ` lists."""
    experiments: Sequence[str]
    """The name of each run's experiment."""

    def take(self, runs: Sequence[int], /) -> LoggedRuns:
        """Return some of the runs, in the order given."""
        return LoggedRuns(
            [self.ids[run] for run in runs],
            [self.statuses[run] for run in runs],
            self.starts[np.array(runs, dtype=np.intp)],
            self.params.take(runs),
            self.metrics.take(runs),
            self.tags.take(runs),
            [self.experiments[run] for run in runs],
        )
