"""`python -m effbench.replay run=<id>`: a tracked run once more, from its logged configuration, and what differs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from effbench.sweep.doors import FAILED, pass_through, read_keys
from effbench.sweep.messages import guard_process, plain

HELP = """\
python -m effbench.replay run=<id> [key=value …]         (or effbench replay …: the same command)
Make a tracked run again from its logged configuration, in an empty store, and compare: quality, every example, file.
On the machine that made it, all of it is the same to the bit; else what is otherwise here is told, a line each.

keys
  run=                   a run id of MLflow, a run key, or the beginning of one (effbench.load_runs lists them)
  tracking.uri=          where it was logged; default: MLFLOW_TRACKING_URI, else the nearest mlflow.db upwards
  tracking.experiment=   default effbench
  device=                auto, cpu, cuda, cuda:N or mps; default: as it was asked for
  store.root=            a new folder that keeps what is computed; default: a temporary one
  dry_run=true           only says what would be run, and what is otherwise here

Nothing is logged to MLflow. Latency is not compared: no two measurements of it are alike.
exit status: 0 identical, 1 it differs or failed, 2 wrong input"""

DEFAULTS = {
    "run": "",
    "tracking.uri": "",
    "tracking.experiment": "effbench",
    "device": "",
    "store.root": "",
    "dry_run": "false",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay a run; returns the exit status."""
    return pass_through(arguments, lambda: HELP, lambda given: _replay(_read(given)), into="the store")


def _replay(keys: Mapping[str, str]) -> int:
    from effbench.run.outcomes import RunError
    from effbench.sweep.replay import compare, identical_line, plan_replay, read_logged, run_again

    root = _empty_folder(keys["store.root"]) if keys["store.root"] else None
    logged = read_logged(keys["run"], experiment=keys["tracking.experiment"], tracking_uri=keys["tracking.uri"] or None)
    with tempfile.TemporaryDirectory(prefix="effbench-replay-") as temporary:
        store = Path(temporary) if root is None else root
        device = [f"device={keys['device']}"] if keys["device"] else []
        replay = plan_replay(logged, [f"store.root={store}", "dry_run=false", *device])
        print(f"run {logged.run_id}, key {logged.key}: {plain(replay.point)}")
        if keys["dry_run"] == "true":
            same = "the same key here" if replay.point.key == logged.key else f"another key here, {replay.point.key}"
            steps = " → ".join(map(str, replay.point.chain.steps)) or "none"
            print(f"would run: {steps}; {same}", *_otherwise(replay.surroundings), sep="\n")
            return 0
        outcome = run_again(replay, store)
    if isinstance(outcome, RunError):
        print(f"failed: {plain(outcome.summary)}", *_otherwise(replay.surroundings), sep="\n")
        return FAILED
    different = compare(replay, outcome)
    if not different:
        print(identical_line(replay, outcome))
        return 0
    print("differs:", *(f"  {plain(line)}" for line in different), *_otherwise(replay.surroundings), sep="\n")
    return FAILED


def _otherwise(lines: Sequence[str]) -> list[str]:
    if not lines:
        return ["of all that was noted of where it was made, nothing is otherwise here"]
    return ["otherwise here:", *(f"  {plain(line)}" for line in lines)]


def _empty_folder(written: str) -> Path:
    folder = Path(written).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"store.root={written}: is not empty; a replay computes all anew, so name a new folder")
    return folder


def _read(arguments: Sequence[str]) -> dict[str, str]:
    """Return the keys' values. ValueError for an argument that is none of them."""
    keys = read_keys(arguments, DEFAULTS, example="run=1f2e3d")
    if not keys["run"]:
        raise ValueError("run: must be given: a run id of MLflow or a run key, as in run=1f2e3d; see --help")
    return keys


def command(arguments: Sequence[str] | None = None, /) -> int:
    """Be the command of this process; returns the exit status."""
    guard_process()
    return main(arguments)


if __name__ == "__main__":
    sys.exit(command())
