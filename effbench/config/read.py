"""The whole of a sweep command, checked."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from effbench.config.command_line import read_command_line
from effbench.config.points import plan_of
from effbench.config.typed import typed
from effbench.plan.blueprint import Blueprint
from effbench.plan.sweep import MeasureSettings, StoreSettings, Sweep, SweepSettings, TrackingSettings
from effbench.training.device import resolve_device


def read_sweep(arguments: Sequence[str], /) -> Sweep:
    """Return the sweep that the arguments ask for. ValueError, in one clear line, for anything that does not fit."""
    command = read_command_line(arguments)
    node = command.configurations[0].node
    measure = {
        key: _as_tuple(value) if key in ("batch", "threads") else value for key, value in node["measure"].items()
    }
    return Sweep(
        device=resolve_device(str(node["device"])),
        tolerance=_tolerance(node["tolerance"]),
        measure=typed(MeasureSettings, measure, where="measure"),
        tracking=typed(TrackingSettings, node["tracking"], where="tracking"),
        store=typed(StoreSettings, node["store"], where="store"),
        plan=plan_of(command),
        jobs=_jobs(node["sweep"]),
        launcher=command.launcher,
        dry_run=_flag(node["dry_run"]),
        engines={name: _engine(entry) for name, entry in command.engines.items()},
        realised={name: command.axes[name].realised for name in command.axis_values},
        neutral={name: command.axes[name].neutral for name in command.axis_values},
        command=shlex.join(["python", "-m", "effbench.sweep", *arguments]),
    )


def _engine(node: Mapping[str, Any]) -> Blueprint:
    return Blueprint(node["_target_"], {key: value for key, value in node.items() if key != "_target_"})


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _jobs(node: Mapping[str, Any]) -> int | None:
    jobs = typed(SweepSettings, node, where="sweep").jobs
    if jobs != "auto" and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ValueError(f"sweep.jobs={jobs}: must be auto or a whole number, 1 or more")
    return None if jobs == "auto" else int(jobs)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"dry_run={value}: must be true or false")
    return value


def _tolerance(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and 0 <= value < 1):
        raise ValueError(
            f"tolerance={value}: must be a fraction of accuracy, at least 0 and below 1; 0.02 is two points"
        )
    return float(value)
