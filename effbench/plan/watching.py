"""How trainings are followed from outside: nothing of it decides their results, and no key holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from effbench.checks.fields import check_fields

WATCHED = ("curves", "checkpoint")
"""The keys of `train` that say it: one value each, for the whole sweep."""

Curves = Literal["training", "validation", "none"]
"""What is measured after each epoch: what the training saw, the validation split as well, or nothing."""


@dataclass(frozen=True, kw_only=True)
class Watching:
    """What becomes of a training while it goes on."""

    curves: Curves = "training"
    checkpoint: Annotated[float, Field(ge=0, description="seconds")] | None = 60.0
    """The least time between two checkpoints of a training, at epochs' ends; None: there are none."""

    def __post_init__(self) -> None:
        """Refuse what says nothing of the kind."""
        check_fields(self)
