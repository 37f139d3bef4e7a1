"""`python -m effbench.report sweep=<id>`: the report of a tracked sweep, one page to read and to pass on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from effbench.sweep.doors import FAILED, pass_through, read_keys
from effbench.sweep.messages import guard_process, say

HELP = """\
python -m effbench.report sweep=<id> [key=value …]         (or effbench report …: the same command)
Write the report of a tracked sweep: one HTML page that needs no network and no JavaScript, with what was asked, the
answer, its figure, all points, what is real of the saving, how sure the point is, and what a benchmark still owes.
It is logged to the sweep's parent run, where MLflow shows it. A sweep logs its own at its end.

keys
  sweep=                 the sweep's id, or the beginning of it (effbench.load_runs lists them)
  out=                   the file; default: report.html
  log=false              writes the file only
  tracking.uri=          where the sweep was logged; default: MLFLOW_TRACKING_URI, else the nearest mlflow.db upwards
  tracking.experiment=   default effbench

exit status: 0, 1 when the page can't be written or logged, 2 for wrong input"""

DEFAULTS = {
    "sweep": "",
    "out": "report.html",
    "log": "true",
    "tracking.uri": "",
    "tracking.experiment": "effbench",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a report; returns the exit status."""
    return pass_through(arguments, lambda: HELP, _work, into="out")


def _work(arguments: Sequence[str]) -> int:
    keys = read_keys(arguments, DEFAULTS, example="sweep=1bb9069ec35e")
    if not keys["sweep"]:
        raise ValueError("sweep: must be given: the id of a sweep, as in sweep=1bb9069ec35e; see --help")
    if keys["log"].lower() not in ("true", "false"):
        raise ValueError(f"log={keys['log']}: must be true or false")
    try:
        path = Path(keys["out"]).expanduser()
    except RuntimeError as error:
        raise ValueError(f"out={keys['out']}: {error}") from None
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"out={keys['out']}: must end with .html")
    if not path.parent.is_dir():
        raise ValueError(f"out={keys['out']}: there is no folder {path.parent}")
    from effbench.sweep.reporting import REPORT, report_again
    from effbench.tracking.parents import add_file
    from effbench.tracking.tracker import TrackingError

    uri, experiment = keys["tracking.uri"] or None, keys["tracking.experiment"]
    try:
        report = report_again(keys["sweep"], experiment=experiment, tracking_uri=uri)
    except TrackingError as error:
        raise ValueError(str(error)) from None
    path.write_bytes(report.page)
    say(f"{path}: written")
    if keys["log"].lower() == "true":
        try:
            add_file(report.parent.run_id, REPORT, report.page, tracking_uri=uri)
        except TrackingError as error:
            say(f"not logged: {error}")
            return FAILED
    return 0


def command(arguments: Sequence[str] | None = None, /) -> int:
    """Be the command of this process; returns the exit status."""
    guard_process()
    return main(arguments)


if __name__ == "__main__":
    sys.exit(command())
