"""`python -m effbench.export run=<id> engine=onnxruntime out=deploy`: a tracked run's network as an engine's file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from effbench.sweep.doors import FAILED, pass_through, passed_on, read_keys
from effbench.sweep.messages import guard_process, say

HELP = """\
python -m effbench.export run=<id> engine=<name> out=<folder>         (or effbench export …: the same command)
Write the network of a tracked run as the file that an engine runs (.onnx, .pt2, .pte), with a card of what it takes and
gives. The file is read again by a process of its own and verified on the test split before it is put into the folder.

keys
  run=                   a run id of MLflow, a run key, or the beginning of one (effbench.load_runs lists them)
  sweep=                 in its place: the id of a sweep, whose saturation point is taken (its first seed)
  point=saturation       which point of the sweep; cost= says on which cost, as in cost=size_bytes
  engine=                onnxruntime, openvino, aot, executorch or litert; default onnxruntime
  engine.<name>.<option>=  an option of it
  out=                   the folder to write into; default: the working folder's effbench-export
  tracking.uri=          where the run was logged; default: MLFLOW_TRACKING_URI, else the nearest mlflow.db upwards
  tracking.experiment=   default effbench

The data set that the run was evaluated on must be there. exit status: 0, 1 when the file is not the run's network or
can't be written, 2 for wrong input"""

DEFAULTS = {
    "run": "",
    "sweep": "",
    "point": "saturation",
    "cost": "",
    "engine": "onnxruntime",
    "out": "effbench-export",
    "tracking.uri": "",
    "tracking.experiment": "effbench",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Export a run; returns the exit status."""
    return pass_through(arguments, lambda: HELP, _work, into="out")


def _work(arguments: Sequence[str]) -> int:
    overrides, others = passed_on(arguments, ("engine.",))
    return _export(_read(others), overrides)


def _export(keys: Mapping[str, str], overrides: Sequence[str]) -> int:
    from effbench.run.apart import ProcessDied
    from effbench.run.outcomes import RunError
    from effbench.sweep.exporting import export_run, lines_of, run_at_saturation, why_failed

    uri, experiment = keys["tracking.uri"] or None, keys["tracking.experiment"]
    run = keys["run"] or run_at_saturation(
        keys["sweep"], experiment=experiment, tracking_uri=uri, cost=keys["cost"] or None
    )
    out = Path(keys["out"]).expanduser()
    try:
        done = export_run(run, keys["engine"], out, overrides=overrides, experiment=experiment, tracking_uri=uri)
    except (RunError, ProcessDied, RuntimeError) as error:
        say(why_failed(error))
        return FAILED
    print(*lines_of(done), sep="\n")
    return 0


def _read(arguments: Sequence[str]) -> dict[str, str]:
    """Return the keys' values. ValueError for an argument that is none of them, and for what does not go together."""
    keys = read_keys(arguments, DEFAULTS, example="run=1f2e3d")
    if bool(keys["run"]) == bool(keys["sweep"]):
        raise ValueError("run, sweep: must be one of them, as in run=1f2e3d or sweep=1bb9069ec35e; see --help")
    if keys["point"] != "saturation":
        raise ValueError(f"point={keys['point']}: must be saturation; run= takes any other run")
    return keys


def command(arguments: Sequence[str] | None = None, /) -> int:
    """Be the command of this process; returns the exit status."""
    guard_process()
    return main(arguments)


if __name__ == "__main__":
    sys.exit(command())
