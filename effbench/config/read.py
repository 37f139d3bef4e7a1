"""A command line read into a whole sweep."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from effbench.checks.fields import check_fields
from effbench.checks.secrets import hide_in_uris
from effbench.config.command_line import CommandLine
from effbench.config.logging_settings import configure_logging
from effbench.config.points import plan_of
from effbench.config.redo import command_line_of
from effbench.config.references import with_whole_sweep_resolved
from effbench.config.refining import refinement_of
from effbench.config.resolve import engine_blueprints
from effbench.config.resolved_file import ResolvedFile
from effbench.config.search_path import searching
from effbench.config.typed import typed
from effbench.plan.sweep import (
    AxisFacts,
    FigureSettings,
    MeasureSettings,
    SaturationSettings,
    StoreSettings,
    Sweep,
    TrackingSettings,
    WorkerSettings,
)
from effbench.training.device import resolve_device

LISTS = ("batch", "threads", "format")
"""Keys of `measure` and of `figure` that are lists; a single value is a list of one."""


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """What is asked of the whole sweep in single keys."""

    tolerance: Annotated[float, Field(ge=0, lt=1, description="a fraction of the quality; 0.02 is two points")]
    dry_run: bool

    def __post_init__(self) -> None:
        check_fields(self)


def read_sweep(arguments: Sequence[str], /, *, call: str | None = None, file: ResolvedFile | None = None) -> Sweep:
    """Return the sweep that the arguments ask for. ValueError, in one clear line, for anything that does not fit.

    call: what asks for it in Python, where that is not the command. file: the configuration of a run that is to be made
    again; the arguments are then what is given anew.
    """
    shown = [hide_in_uris(argument) for argument in arguments]
    call = None if call is None else hide_in_uris(call)
    command = command_line_of(arguments, file)
    node = with_whole_sweep_resolved(command.configurations[0].node)
    measure, figure = (_with_lists(node.get(name, {})) for name in ("measure", "figure"))
    answers = _Answers(tolerance=node["tolerance"], dry_run=node["dry_run"])
    workers = typed(WorkerSettings, node["sweep"], where="sweep")
    with searching(command.search_path):
        engines = engine_blueprints(node, command.engines)
        callbacks = _callbacks(command)
    configure_logging(command.hydra)
    plan = plan_of(command)
    return Sweep(
        device=resolve_device(str(node["device"])),
        tolerance=answers.tolerance,
        saturation=typed(SaturationSettings, node.get("saturation", {}), where="saturation"),
        figure=typed(FigureSettings, figure, where="figure"),
        measure=typed(MeasureSettings, measure, where="measure"),
        tracking=typed(TrackingSettings, node["tracking"], where="tracking"),
        store=typed(StoreSettings, node["store"], where="store"),
        plan=plan,
        refinement=refinement_of(command, plan, workers.refine),
        jobs=None if workers.jobs == "auto" else int(workers.jobs),
        timeout=workers.timeout,
        launcher=command.launcher,
        config_folders=tuple(map(str, command.search_path.places)),
        callbacks=callbacks,
        dry_run=answers.dry_run,
        engines=engines,
        axes={
            name: AxisFacts(realised=axis.realised, moves=axis.moves)
            for name, axis in command.axes.items()
            if name in command.axis_values
        },
        name=(shlex.join(shown) if call is None else call.partition("(")[2].removesuffix(")")) or "reference",
        arguments=tuple(shown),
        command=shlex.join(["python", "-m", "effbench.sweep", *shown]) if call is None else call,
    )


def _callbacks(command: CommandLine) -> dict[str, Any]:
    if not command.hydra.callbacks:
        return {}
    from effbench.config.callbacks import callbacks_of  # here, because few have any

    return callbacks_of(command)


def _with_lists(node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _as_tuple(value) if key in LISTS else value for key, value in node.items()}


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)
