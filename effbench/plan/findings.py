"""What stages find out beside their network: kept with each step, so that a run has it whoever computed the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from effbench.plan.spent import Spent

Rows = Sequence[Mapping[str, str | int | float | bool]]
"""A table as plain data: a row is a value by column, each row has the same columns."""


@dataclass
class Findings:
    """Metrics and tables, filled while stages are applied."""

    metrics: dict[str, float] = field(default_factory=dict)
    """Metrics by name. Of equal names the last one stays."""
    words: dict[str, str] = field(default_factory=dict)
    """What is said of the run in a word, by name: its tags. Of equal names the last one stays."""
    peaks: dict[str, float] = field(default_factory=dict)
    """Metrics of which a run has the largest that any of its steps found."""
    tables: dict[str, Rows] = field(default_factory=dict)
    """Tables by name: files of the run. Of equal names the last one stays."""
    spent: Spent = field(default_factory=Spent, compare=False)
    """What the steps took: never twice the same."""
    curves: dict[str, Rows] = field(default_factory=dict, compare=False)
    """By step: a row for each epoch in which it trained, see `training.curves`."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.metrics or self.words or self.peaks or self.tables)

    def note(self, name: str, value: float, /) -> None:
        """Note a metric."""
        self.metrics[name] = value

    def say(self, name: str, word: str, /) -> None:
        """Note a word."""
        self.words[name] = word

    def note_peak(self, name: str, value: float, /) -> None:
        """Note a metric, if it is larger than what was noted under its name."""
        self.peaks[name] = max(value, self.peaks.get(name, value))

    def add_table(self, name: str, rows: Rows, /) -> None:
        """Add a table."""
        self.tables[name] = [dict(row) for row in rows]

    def take_over(self, later: Findings, /) -> None:
        """Add what a later step found."""
        self.metrics |= later.metrics
        self.words |= later.words
        for name, value in later.peaks.items():
            self.note_peak(name, value)
        self.tables |= later.tables
        self.spent.take_over(later.spent)
        self.curves |= later.curves

    def to_plain(self) -> dict[str, Any]:
        """Return the findings as JSON-able data."""
        found = {"metrics": self.metrics, "words": self.words, "peaks": self.peaks, "tables": self.tables}
        return {**found, "curves": self.curves, "spent": self.spent.to_plain()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], /) -> Findings:
        """Return what `to_plain` wrote, or an earlier version's, which had neither curves nor what was spent."""
        found = {name: dict(plain[name]) for name in ("metrics", "words", "peaks", "tables")}
        return cls(**found, curves=dict(plain.get("curves", {})), spent=Spent.from_plain(plain.get("spent")))
