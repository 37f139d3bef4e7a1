"""Energy as processors count it (RAPL), where the system shows its counters: measured, never modelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Clock = Callable[[], float]
_POWERCAP = Path("/sys/class/powercap")
_LEAST_CALLS = 3


@dataclass(frozen=True)
class _Zone:
    """A processor package's counter, in microjoules, which begins anew after `n_uj`."""

    file: Path
    n_uj: int

    def read(self) -> int:
        return int(self.file.read_text())


@dataclass(frozen=True)
class EnergyCounter:
    """The counters of all processor packages (Linux: powercap, intel-rapl, which AMD's processors have, too)."""

    zones: Sequence[_Zone]

    @classmethod
    def find(cls, root: Path = _POWERCAP, /) -> EnergyCounter | None:
        """Return the counters that can be read; None where there are none (most systems show them to root alone)."""
        zones = []
        for folder in sorted(root.glob("intel-rapl:*")):
            if folder.name.count(":") != 1:  # a part of a package, which that counts as well
                continue
            try:
                zone = _Zone(folder / "energy_uj", int((folder / "max_energy_range_uj").read_text()))
                zone.read()
            except (OSError, ValueError):
                continue
            zones.append(zone)
        return cls(zones) if zones else None

    def mj_of(self, run: Callable[[], object], /, *, seconds: float, clock: Clock = time.perf_counter) -> float:
        """Return the millijoules of a call: of whole packages, with idle power and all else that they did meanwhile.

        Calls are made for so many seconds, and at least three. The counters must not begin anew twice in that time,
        which takes them minutes. OSError where they can't be read any more.
        """
        run()
        before, began, n_calls = self._read(), clock(), 0
        while n_calls < _LEAST_CALLS or clock() - began < seconds:
            run()
            n_calls += 1
        spent = sum(
            (last - first) % (zone.n_uj + 1) for zone, first, last in zip(self.zones, before, self._read(), strict=True)
        )
        return spent / n_calls / 1000

    def _read(self) -> list[int]:
        return [zone.read() for zone in self.zones]
