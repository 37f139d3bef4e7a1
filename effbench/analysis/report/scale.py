"""A scale of the report's figure: where a value lies on an axis, and the ticks that it has."""

from __future__ import annotations

import math
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MARGIN = 0.10
"""The share of an axis that is free at either end."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The values from `low` to `high` on the pixels from `start` to `end`; logarithmic where it is said."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool = False

    @classmethod
    def around(cls, low: float, high: float, /, *, start: float, end: float, is_logarithmic: bool = False) -> Scale:
        """Return a scale with room beside the values from `low` to `high`, which may be equal.

        >>> scale = Scale.around(0.0, 10.0, start=0, end=120)
        >>> scale.place(0.0), scale.place(10.0)
        (10.0, 110.0)
        """
        if is_logarithmic:
            extra = _MARGIN * math.log(high / low)
            return cls(
                low=low * math.exp(-extra), high=high * math.exp(extra), start=start, end=end, is_logarithmic=True
            )
        extra = _MARGIN * (high - low) or abs(high) * _MARGIN or 1.0
        return cls(low=low - extra, high=high + extra, start=start, end=end)

    def place(self, value: float) -> float:
        """Return the pixel of a value, to a tenth; outside of the scale that of its end."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self, most: int) -> list[float]:
        """Return round values on the scale, at most `most`, ascending.

        >>> Scale(low=0, high=10, start=0, end=1).ticks(6)
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        >>> Scale(low=90, high=5e5, start=0, end=1, is_logarithmic=True).ticks(5)
        [100.0, 1000.0, 10000.0, 100000.0]
        """
        if self.is_logarithmic:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            for steps in ((1, 2, 5), (1, 3), (1,)):
                found = self._within([step * 10.0**power for power in range(first, last + 1) for step in steps])
                if len(found) <= most:
                    break
            every = -(-len(found) // most) if found else 1
            if len(found) >= 2:
                return found[::every]
        width = self.high - self.low
        power = 10.0 ** math.floor(math.log10(width / most))
        step = next(step * power for step in _STEPS if width / (step * power) <= most)
        first = math.ceil(self.low / step)
        return self._within([float(f"{(first + number) * step:.10g}") for number in range(most + 2)])[:most]

    def _within(self, values: list[float]) -> list[float]:
        return [value for value in values if self.low <= value <= self.high]
