"""What a profile is of: the fresh network that a command names, one after a recipe, or that of a tracked run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from effbench.codec import decode
from effbench.config.command_line import CommandLine
from effbench.config.fresh_network import fresh_network
from effbench.config.read import read_sweep
from effbench.config.redo import command_line_of
from effbench.plan.point import Plan, Point
from effbench.plan.sweep import Sweep
from effbench.run.dropping import use_of
from effbench.run.executors import run_here
from effbench.run.outcomes import RunError
from effbench.run.results import RunResult
from effbench.run.store import Store
from effbench.stages.train import Train
from effbench.sweep.load_model import find_run, load_model
from effbench.sweep.progress import ProgressDisplay
from effbench.tracking.read import load_network


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network whose cost is to be laid out."""

    network: nn.Module
    input_size: tuple[int, int, int]
    """(channels, side, side)."""
    title: str


def subject_of_command(arguments: Sequence[str], /, *, side: int | None) -> Subject:
    """Return the network that arguments of a sweep name.

    Without an axis nothing is trained: the network is fresh, and has its own classes, channels and side unless the
    arguments name data. With axes it is the point of a sweep, made by the recipe or read from the store; where they
    touch nothing but what the network is built with, or at which side, it is fresh.

    side: in pixels, in the place of the network's own or of the data's. ValueError, in one line, for what does not fit,
    and for arguments that mean several networks; RunError for a run that failed.
    """
    keys = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    if side is not None and "data.side" in keys:
        raise ValueError(f"side={side}: data.side is given as well; give one of the two")
    command = command_line_of(arguments)
    _check_one(command)
    if not command.axis_values:
        follows_data = any(key.partition(".")[0] == "data" for key in keys)
        fresh = fresh_network(command, side=side, follows_data=follows_data)
        of_data = f", as for {fresh.data}" if fresh.data else ""
        return Subject(
            network=fresh.network, input_size=fresh.input_size, title=f"{fresh.name}{_at(fresh.input_size)}{of_data}"
        )
    sweep = read_sweep([*arguments, *([] if side is None else [f"data.side={side}"])])
    if sweep.dry_run:
        raise ValueError("dry_run=true: effbench sweep says what would run; a profile is of what came of it")
    point = _asked_for(sweep.plan)
    network = point.chain.fresh_network()
    if not all(type(step.stage) is Train for step in point.chain.plain_steps):
        result = _made(point, sweep)
        network = decode(result.blob, network).eval()
    title = f"{point.network_name}{_at(point.input_size)}, {point.data_name}: {point}"
    return Subject(network=network, input_size=point.input_size, title=title)


def subject_of_run(
    run: str, /, *, side: int | None, experiment: str = "effbench", tracking_uri: str | None = None
) -> Subject:
    """Return the network of a tracked run, read from its file, at the side at which it was evaluated.

    ValueError as for `effbench.load_model`.
    """
    row = find_run(run, experiment, tracking_uri)
    network = load_model(row, tracking_uri=tracking_uri)
    _, described = load_network(str(row["run_id"]), tracking_uri=tracking_uri)
    offered = described["offered"]
    evaluated_at = row.get("eval_side", offered["input_side"])
    pixels = int(evaluated_at) if side is None else side
    size = (int(offered["in_channels"]), pixels, pixels)
    title = f"{row.get('model', '')}{_at(size)}, {row.get('data', '')}: {row['point']}, seed={row.get('seed', 0)}"
    return Subject(network=network, input_size=size, title=f"{title} (run {str(row['run_key'])[:12]})")


def _check_one(command: CommandLine) -> None:
    """Refuse what means several networks: a profile is of one."""
    several = {name: values for name, values in command.axis_values.items() if len(values) > 1}
    if len(command.configurations) > 1:
        first, second = command.configurations[:2]
        key = next(key for key, value in first.swept.items() if second.swept.get(key) != value)
        several[key] = tuple(dict.fromkeys(composed.swept[key] for composed in command.configurations))
    if len(command.seeds) > 1:
        several["seed"] = command.seeds
    for name, values in several.items():
        raise ValueError(f"{name}={','.join(map(str, values))}: a profile is of one network; give one value")


def _asked_for(plan: Plan) -> Point:
    """Return the point that was asked for: the reference where the axes are neutral."""
    points = [point for point in plan.points if not point.is_reference and not point.is_control]
    return (points or list(plan.points))[0]


def _made(point: Point, sweep: Sweep) -> RunResult:
    """Return the result of a point, from the store or made as in the sweep, with a bar on a terminal."""
    store, outcome = Store(Path(sweep.store.root), limit=sweep.store.limit_bytes), None
    with use_of(store, by=sweep) as use, ProgressDisplay(Plan((point,))) as display:
        with closing(use.follow(run_here([point], store, sweep.device, display))) as runs:
            for _, outcome in runs:
                display.run_ended(point, failed=isinstance(outcome, RunError))
    if isinstance(outcome, RunError):
        raise outcome
    assert outcome is not None
    return outcome


def _at(size: tuple[int, int, int]) -> str:
    return " at " + "×".join(map(str, size))
