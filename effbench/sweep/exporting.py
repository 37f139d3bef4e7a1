"""The network of a tracked run as the file of an engine, verified on the test split by a process that only reads it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from effbench.analysis import saturation_point, split_groups
from effbench.analysis.curves.quality import Quality
from effbench.checks.errors import first_line
from effbench.codec import decode_on_grids
from effbench.measure.engine_files import Exported, FileEngine, compressed_bytes
from effbench.measure.latency import example_input
from effbench.plan.blueprint import Blueprint
from effbench.plan.point import Point
from effbench.run.apart import call_apart
from effbench.run.parcel import why_not_sent
from effbench.run.through_engine import ThroughEngine, evaluate_through
from effbench.sweep.measuring_again import note_export
from effbench.sweep.model_log import described
from effbench.sweep.replay import plan_replay, read_logged
from effbench.tracking.read import load_runs
from effbench.tracking.tracker import TrackingError

NEXT_TO = {
    ".onnx": "onnxruntime_perf_test -e cpu -m times -r 200 -x {threads} {file}",
    ".pte": "executor_runner --model_path={file} --num_executions=200   # on the phone: adb push it beside the runner",
    ".tflite": "benchmark_model --graph={file} --num_threads={threads} --num_runs=200   # LiteRT's, on the phone",
}
"""What times a file where it is to run, by its suffix."""


@dataclass(frozen=True, kw_only=True)
class Deployable:
    """A file that was written and verified."""

    path: Path
    card: Mapping[str, Any]
    """What whoever runs the file has to know; it lies beside the file."""
    notes: Sequence[str]
    """What is not in it as it was asked for, a line each."""


def run_at_saturation(sweep: str, /, *, experiment: str, tracking_uri: str | None, cost: str | None) -> str:
    """Return the id of the run at a sweep's saturation point, its first seed. ValueError where there is none."""
    runs = load_runs(experiment, sweep=sweep, tracking_uri=tracking_uri)
    groups = split_groups(runs)
    if len(groups) > 1:
        raise ValueError(f"sweep={sweep}: has several networks or data sets ({', '.join(groups)}); give run= instead")
    found = saturation_point(runs, cost=cost)
    if found.point is None:
        raise ValueError(f"sweep={sweep}: has no saturation point: {found.reason}; give run= instead")
    label = str(found.point["point"])
    own = runs[runs["point"] == label]
    return str(own.sort_values("seed").iloc[0]["run_id"] if "seed" in own.columns else own.iloc[0]["run_id"])


def export_run(
    run: str,
    engine: str,
    out: Path,
    /,
    *,
    overrides: Sequence[str] = (),
    experiment: str = "effbench",
    tracking_uri: str | None = None,
) -> Deployable:
    """Write a tracked run's network as the file of an engine into the folder `out`, with a card beside it.

    The network comes from the run's own file. The engine's file is read again in a process of its own, which runs the
    test split through it, before it is put into `out`; its digest becomes a tag of the run. overrides: of the
    configuration, such as options of the engine.
    ValueError where the run, the engine or the folder can't be used; OSError where it can't be written; RuntimeError
    where the file does not do what the run's network did.
    """
    if "," in engine:
        raise ValueError(f"engine={engine}: must be one engine")
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out}: must be a folder")
    logged = read_logged(run, experiment=experiment, tracking_uri=tracking_uri)
    replay = plan_replay(logged, [f"engine={engine}", "device=cpu", "dry_run=false", *overrides])
    blueprint, point = replay.sweep.engines[engine], replay.point
    writer = blueprint.build()
    if not isinstance(writer, FileEngine):
        raise ValueError(f"engine={engine}: runs networks without a file of its own; onnxruntime, for one, has files")
    name = f"network.{engine}{writer.SUFFIX}"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="effbench-export-") as temporary:
        exported, dtype = _written(logged.blob, point, blueprint, Path(temporary))
        through = _apart(_verified, exported.path, logged.blob, point, blueprint)
        card = _card(
            point, logged.metrics, exported, through, engine=engine, run_id=logged.run_id, name=name, dtype=dtype
        )
        _refuse_worse(through, logged.metrics, engine)
        _put(out / f"{name}.json", lambda part: part.write_text(json.dumps(card, indent=2) + "\n"))
        _put(out / name, lambda part: shutil.copyfile(exported.path, part))
    notes = list(exported.notes)
    try:
        note_export(logged.run_id, engine, out / name, tracking_uri=tracking_uri)
    except TrackingError as error:
        notes.append(
            f"the run could not be told of the file, which `effbench latency read=` then does not find: {error}"
        )
    return Deployable(path=out / name, card=card, notes=notes)


def _put(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, and put it there when it is whole."""
    part = path.with_name(f".{path.name}.part")
    write(part)
    os.replace(part, path)


def _written(blob: bytes, point: Point, blueprint: Blueprint, folder: Path) -> tuple[Exported, torch.dtype]:
    """Return the file of a run's network, and the type of its input."""
    network = decode_on_grids(blob, point.chain.fresh_network()).eval()
    example = example_input(network, (1, *point.input_size), 0)
    return blueprint.build().export(network, example, folder), example.dtype


def _apart(function: Callable[..., ThroughEngine], path: Path, blob: bytes, point: Point, engine: Blueprint) -> Any:
    """Call a function in a process of its own, where what it takes can be sent there."""
    if why_not_sent([point]) is not None:
        return function(path, blob, point, engine, report=lambda: None)
    return call_apart(function, path, blob, point, engine)


def _verified(
    path: Path, blob: bytes, point: Point, blueprint: Blueprint, /, *, report: Callable[..., None]
) -> ThroughEngine:
    """Read an engine's file, and run the test split through it beside the run's own network."""
    torch.set_num_threads(1)
    network = decode_on_grids(blob, point.chain.fresh_network()).eval()
    prepared = blueprint.build().load(path, example_input(network, (1, *point.input_size), 0), threads=1)
    task, data = point.chain.loaded_task(), point.chain.loaded_data()
    return evaluate_through(prepared, network, data, task=task, side=point.eval_side, batch=1)


def _refuse_worse(
    through: ThroughEngine, logged: Mapping[str, Any], engine: str, /, *, tolerance: float = 0.02
) -> None:
    """Refuse a file that is much worse than the run's own: it would not be the run's network."""
    name, quality = next(iter(through.qualities.items()))
    then = logged.get(name)
    row = pd.DataFrame([{key: value for key, value in logged.items() if key.startswith("quality_")}])
    of_run = Quality.of_frame(row)
    if not isinstance(then, int | float):
        return
    lost = (quality - then) * (1 if of_run.direction == "lower" else -1)
    if not lost <= tolerance * (1.0 if of_run.is_fraction else abs(then)):
        raise RuntimeError(
            f"engine={engine}: the file was written, but is not the run's network: its {name} is {quality:.4g}, "
            f"the run's {then:.4g}; nothing was put into out"
        )


def _card(
    point: Point,
    logged: Mapping[str, Any],
    exported: Exported,
    through: ThroughEngine,
    /,
    *,
    engine: str,
    run_id: str,
    name: str,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """Return what whoever runs the file has to know."""
    path = exported.path
    begin = tuple(f"{what}/{engine}" for what in ("latency_ms", "latency_ms_p90", "speedup"))
    timed = {key: value for key, value in logged.items() if key.startswith(begin)}
    command = NEXT_TO.get(path.suffix)
    takes = {what: value for what, value in described(point).items() if what != "example"}
    takes["input"] = takes["input"].replace("float32", str(dtype).removeprefix("torch."), 1)
    return {
        "file": name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "engine": engine,
        "run_id": run_id,
        "point": str(point),
        "bytes": path.stat().st_size,
        "download_bytes": compressed_bytes(path),
        "int8_weights": exported.int8_weights,
        "quality_on_the_engine": through.qualities,
        "quality_of_the_run": {name: logged.get(name) for name in through.qualities},
        "agreement_with_pytorch": through.agreement,
        "largest_difference_from_pytorch": through.max_difference,
        "test_examples": point.chain.loaded_data().n_examples("test"),
        "measured_where_it_was_tracked": {
            key: value for key, value in timed.items() if isinstance(value, float) and value == value
        },
        "batch": 1,
        **takes,
        "notes": list(exported.notes),
        **({"benchmark": command.format(file=name, threads=1)} if command else {}),
    }


def lines_of(deployable: Deployable, /) -> list[str]:
    """Return what is said of a file that was written and verified."""
    card = deployable.card
    name, quality = next(iter(card["quality_on_the_engine"].items()))
    then = card["quality_of_the_run"][name]
    agreement = card["agreement_with_pytorch"]
    same = "" if agreement is None else f", the same answer as PyTorch for {100 * agreement:.4g} %"
    return [
        f"{deployable.path}: {card['bytes']:,} bytes ({card['download_bytes']:,} compressed), {card['point']}",
        f"verified on {card['test_examples']} test examples: {name} {quality:.4g} (the run's: {then:.4g}){same}",
        *deployable.notes,
        f"what it takes and gives: {deployable.path}.json",
    ]


def why_failed(error: Exception, /) -> str:
    """Return in a line why an export did not come to its end."""
    return first_line(error)
