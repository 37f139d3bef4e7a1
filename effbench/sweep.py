"""`python -m effbench.sweep +prune=0.1,0.5,0.9`: sweep, log, and say where compression stops being free."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

WRONG_INPUT, FAILED = 2, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep; returns the exit status: 0, 1 when runs failed, 2 for wrong input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(format="effbench: %(message)s", level=logging.WARNING)
    if any(argument in ("-h", "--help") for argument in arguments):
        from effbench.config.help import help_page

        print(help_page())
        return 0
    from effbench.config.sweep import read_sweep
    from effbench.store import Store
    from effbench.tracking.location import for_writing

    try:
        sweep = read_sweep(arguments)
        store = Store(Path(sweep.store.root))
        from effbench.tracking.write import MlflowTracker

        tracker = MlflowTracker(for_writing(sweep.tracking.uri), sweep.tracking.experiment)
    except (ValueError, ConnectionError) as error:
        print(f"effbench: {error}", file=sys.stderr)
        return WRONG_INPUT

    from effbench.answer import give_answer
    from effbench.orchestrate import carry_out
    from effbench.terminal import ProgressDisplay

    with ProgressDisplay(sweep.plan) as display:
        outcome = carry_out(sweep, store, tracker, display)
    give_answer(sweep, outcome, store, tracker)
    return FAILED if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
