"""`python -m effbench.store`: what lies in the store and which sweeps use it; and clear it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from effbench.sweep.doors import WRONG_INPUT, answered, read_keys
from effbench.sweep.messages import say

HELP = """\
python -m effbench.store [key=value …]         (or effbench store …: the same command)
List what lies in the store: sweeps with what only they use, what they share, what belongs to none; or clear it.

keys
  store.root=      the store (default .effbench)
  clear=unused     deletes what no known sweep needs: left-over files, networks that sweeps only passed through, data
                   sets that were decoded (data.cache=disk decodes them again), entries
                   of versions before this one (the same command makes them known: run it first for what is to stay)
  clear=<sweep>    deletes all that only this sweep (its id, or the beginning of it) uses: networks, results, its answer
  clear=older=30d  deletes likewise what was not used for 30 days; also 12h, 2w
  dry_run=true     only says what would go

What a running sweep uses stays, and so does what others put there. MLflow's runs are not touched.
exit status: 0, 1 when something could not be deleted, 2 for wrong input"""

DEFAULTS = {"store.root": ".effbench", "clear": "", "dry_run": "false"}
FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """List or clear a store; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    status = answered(arguments, lambda: HELP)
    if status is not None:
        return status
    return _main(arguments)


def _main(arguments: Sequence[str]) -> int:
    from effbench.run.clearing import choose, clear
    from effbench.run.inventory import take_inventory
    from effbench.sweep.store_listing import cleared_lines, clearing_lines, listing

    try:
        keys = _read(arguments)
        inventory = take_inventory(Path(keys["store.root"]))
        clearing = choose(inventory, keys["clear"]) if keys["clear"] else None
    except ValueError as error:
        say(error)
        return WRONG_INPUT
    if clearing is None:
        print(*listing(inventory), sep="\n")
        return 0
    if keys["dry_run"] == "true":
        print(*clearing_lines(clearing), sep="\n")
        return 0
    cleared = clear(inventory, clearing)
    print(*cleared_lines(cleared), sep="\n")
    return FAILED if cleared.running or cleared.errors else 0


def _read(arguments: Sequence[str]) -> dict[str, str]:
    """Return the keys' values. ValueError for an argument that is none of them."""
    keys = read_keys(arguments, DEFAULTS, example="clear=unused")
    if not keys["clear"] and any(argument.lstrip("+").startswith("dry_run=") for argument in arguments):
        raise ValueError("dry_run: says what clear=… would delete; give that too, as in clear=unused")
    return keys


def command(arguments: Sequence[str] | None = None, /) -> int:
    """Be the command of this process; returns the exit status."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader such as `head` has enough
    return main(arguments)


if __name__ == "__main__":
    sys.exit(command())
