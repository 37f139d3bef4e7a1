"""When a run was at work, by the clock of the machine where it ran."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

_ATTRIBUTE = "effbench_times"
"""Of an exception: the times of the run that it ended."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """When a run was begun to be computed, and when it ended, well or badly: in seconds since 1970."""

    began: float
    ended: float

    @classmethod
    def since(cls, began: float, /) -> Times:
        """Return the times of a run that began then and ends now; a clock that was set back makes no run negative."""
        return cls(began=began, ended=max(began, time.time()))

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any] | None, /) -> Times | None:
        """Return what `to_plain` gave; None where nothing was noted."""
        return None if plain is None else cls(began=float(plain["began"]), ended=float(plain["ended"]))

    def to_plain(self) -> dict[str, float]:
        """Return what JSON can hold."""
        return asdict(self)


@contextmanager
def noting_failure(began: float, /) -> Iterator[None]:
    """Note on whatever is raised when its run began, and that it ended: whoever makes a `RunError` of it asks."""
    try:
        yield
    except BaseException as error:
        setattr(error, _ATTRIBUTE, Times.since(began))
        raise


def times_of(error: BaseException, /) -> Times | None:
    """Return the times of the run that an exception ended; None where none had begun."""
    times = getattr(error, _ATTRIBUTE, None)
    return times if isinstance(times, Times) else None
