"""`python -m effbench.latency sweep=<id> engine=onnxruntime`: a tracked sweep, timed again."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from effbench.sweep.doors import FAILED, pass_through, passed_on, read_keys
from effbench.sweep.messages import guard_process

if TYPE_CHECKING:
    from effbench.sweep.measuring_again import Again

HELP = """\
python -m effbench.latency sweep=<id> engine=<name> [key=value …]         (or effbench latency …: the same command)
Time the finished runs of a tracked sweep again, from the files that were logged: on other engines, on this machine.
What is found is added to the runs, its names ending with the machine's, as in latency_ms/onnxruntime:pi5; all samples
are files of the sweep's parent run, latency/<machine>/<engine>.csv.gz.

keys
  sweep=                 the sweep's id, or the beginning of it (effbench.load_runs lists them)
  engine=                eager, compile, aot, onnxruntime, openvino, executorch, litert; or a list: engine=eager,aot
  engine.<name>.<option>=  an option of one
  measure.batch= measure.threads= measure.seconds= measure.memory=   as in a sweep
  machine=               what this machine is called; default: its name in the network
  read=phone.json        in the place of engine=: what a benchmark on another machine has printed of exported files, a
                         list of {"sha256": the file's (its card has it), "output": "…"}; machine= says which one
  tracking.uri=          where the sweep was logged; default: MLFLOW_TRACKING_URI, else the nearest mlflow.db upwards
  tracking.experiment=   default effbench

exit status: 0, 1 when something could not be measured, 2 for wrong input"""

DEFAULTS = {
    "sweep": "",
    "engine": "",
    "read": "",
    "machine": "",
    "tracking.uri": "",
    "tracking.experiment": "effbench",
}
_SHOWN = ("latency_ms/", "throughput/", "speedup/", "energy_mj/")


def main(arguments: Sequence[str] | None = None) -> int:
    """Time a sweep again; returns the exit status."""
    return pass_through(arguments, lambda: HELP, _work, into="the temporary folder")


def _work(arguments: Sequence[str]) -> int:
    overrides, others = passed_on(arguments, ("engine.", "measure."))
    again = _measured(_read(others), overrides)
    shown = [name for name in map(str, again.frame.columns) if "/" not in name or name.startswith(_SHOWN)]
    print(again.frame[shown].to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    for line in (*again.notes, *again.unmeasured):
        print(line)
    return FAILED if again.unmeasured else 0


def _measured(keys: Mapping[str, str], overrides: Sequence[str]) -> Again:
    from effbench.sweep.measuring_again import measure_again, read_again
    from effbench.tracking.tracker import TrackingError

    uri, experiment = keys["tracking.uri"] or None, keys["tracking.experiment"]
    where = {"experiment": experiment, "tracking_uri": uri}
    try:
        if keys["read"]:
            file = Path(keys["read"]).expanduser()
            return read_again(keys["sweep"], file, machine=keys["machine"], **where)  # type: ignore[arg-type]
        machine = keys["machine"] or re.sub(r"[^A-Za-z0-9_.-]+", "-", platform.node())[:40] or "here"
        return measure_again(keys["sweep"], keys["engine"], machine=machine, overrides=overrides, **where)  # type: ignore[arg-type]
    except TrackingError as error:
        raise ValueError(str(error)) from None


def _read(arguments: Sequence[str]) -> dict[str, str]:
    """Return the keys' values. ValueError for an argument that is none of them, and for what does not go together."""
    keys = read_keys(arguments, DEFAULTS, example="sweep=1bb9069ec35e")
    if not keys["sweep"]:
        raise ValueError("sweep: must be given: the id of a sweep, as in sweep=1bb9069ec35e; see --help")
    if bool(keys["engine"]) == bool(keys["read"]):
        raise ValueError("engine, read: must be one of them, as in engine=onnxruntime or read=phone.json; see --help")
    if keys["read"] and not keys["machine"]:
        raise ValueError("machine: must be given with read=: what the other machine is called, as in machine=pixel-8")
    return keys


def command(arguments: Sequence[str] | None = None, /) -> int:
    """Be the command of this process; returns the exit status."""
    guard_process()
    return main(arguments)


if __name__ == "__main__":
    sys.exit(command())
