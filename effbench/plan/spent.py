"""What making a network took, whoever made it when: seconds and multiply-adds, its own and those of its teachers.

Each entry has a name and is kept with the network, so that a run knows what its cached parts took, too, and two runs
from one prefix know the same of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Amounts = Mapping[str, float]
"""`seconds`, wall time; `macs`, multiply-adds of the training passes, absent where the network can't be counted."""

PASSES = 3
"""A training step's multiply-adds in forward passes: one forward, and twice as many to both gradients."""
UNKNOWN = "unknown: a part of it was kept by an earlier version of effbench"
"""What is said of a run in the place of metrics that can't be known."""

_OWN = {"seconds": "train_seconds_total", "macs": "train_macs"}
_TEACHING = {"seconds": "teacher_seconds", "macs": "teacher_macs"}


@dataclass
class Spent:
    """What was spent, by what it was spent on. None: an earlier version kept a part of it, and not what that took."""

    own: dict[str, Amounts] | None = field(default_factory=dict)
    """By step of the network's own recipe."""
    teaching: dict[str, Amounts] | None = field(default_factory=dict)
    """By a teacher's key, by its labels, by the step for which it was run beside the student."""

    def note(self, step: str, /, *, seconds: float, macs: int | None = 0) -> None:
        """Note what a step took; macs None: not known."""
        if self.own is not None:
            self.own[step] = _amounts(seconds, macs)

    def note_teaching(self, what: str, /, *, seconds: float = 0.0, macs: int | None = 0) -> None:
        """Note what went into teaching."""
        if self.teaching is not None:
            self.teaching[what] = _amounts(seconds, macs)

    def note_teacher(self, key: str, teacher: Spent, /) -> None:
        """Note all that making a teacher took, its own teachers' included."""
        totals = [_total(part) for part in (teacher.own, teacher.teaching)]
        if any(total is None for total in totals):
            self.teaching = None
        elif self.teaching is not None:
            self.teaching[f"teacher/{key}"] = _sum([total for total in totals if total is not None])

    def take_over(self, later: Spent, /) -> None:
        """Add what a later step took; what is there already under its name is not counted twice."""
        self.own = _joined(self.own, later.own)
        self.teaching = _joined(self.teaching, later.teaching)

    @property
    def metrics(self) -> dict[str, float]:
        """`train_seconds_total`, `train_macs`, `teacher_seconds`, `teacher_macs`, as far as they are known."""
        found: dict[str, float] = {}
        for part, names in ((self.own, _OWN), (self.teaching, _TEACHING)):
            total = _total(part) or {}
            found |= {names[amount]: value for amount, value in total.items()}
        return found

    @property
    def words(self) -> dict[str, str]:
        """What is said in a word: which of the metrics are missing, and why."""
        return {"training_cost": UNKNOWN} if self.own is None or self.teaching is None else {}

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return {"own": self.own, "teaching": self.teaching}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any] | None, /) -> Spent:
        """Return what `to_plain` wrote; of None, which earlier versions left, that nothing is known."""
        return cls(None, None) if plain is None else cls(_read(plain["own"]), _read(plain["teaching"]))


def _amounts(seconds: float, macs: int | None) -> dict[str, float]:
    return {"seconds": seconds} | ({} if macs is None else {"macs": macs})


def _total(part: Mapping[str, Amounts] | None) -> dict[str, float] | None:
    return None if part is None else _sum(list(part.values()))


def _sum(amounts: list[Amounts]) -> dict[str, float]:
    """Return the sums; multiply-adds only where all are known."""
    total: dict[str, float] = {"seconds": math.fsum(amount["seconds"] for amount in amounts)}
    if all("macs" in amount for amount in amounts):
        total["macs"] = sum(amount["macs"] for amount in amounts)
    return total


def _joined(one: dict[str, Amounts] | None, other: dict[str, Amounts] | None) -> dict[str, Amounts] | None:
    return None if one is None or other is None else {**one, **other}


def _read(part: Mapping[str, Mapping[str, float]] | None) -> dict[str, Amounts] | None:
    return None if part is None else {str(name): dict(amounts) for name, amounts in part.items()}
