"""The command `effbench`: one word for each of the doors, which are the same by `python -m effbench.<door>`."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence

HELP = """\
effbench COMMAND …
A bench for one question: where does compressing a neural network stop being free?

commands
  sweep    sweep compression, log every run to MLflow, say where it stops being free: effbench sweep +prune=0.1,0.5,0.9
  store    list what is kept of sweeps, or clear it: effbench store clear=unused
  profile  where a network's cost sits, layer by layer, trained or not: effbench profile model=vgg16
  latency  time a tracked sweep again, on other engines or machines: effbench latency sweep=1f2e3d engine=openvino
  export   a tracked run's network as an engine's file, verified: effbench export run=1f2e3d engine=onnxruntime
  report   a tracked sweep as one page to read and to pass on: effbench report sweep=1f2e3d
  replay   make a tracked run again from its logged configuration, and say what differs: effbench replay run=1f2e3d
  new      begin a technique, network, data set, task, engine or recipe of your own: effbench new model my_net

effbench COMMAND --help says more; effbench --version says which this is. `python -m effbench.sweep …` is the same as
`effbench sweep …`, and so on: modules in the working folder are found by both (not with PYTHONSAFEPATH, as ever)."""

COMMANDS = ("sweep", "store", "profile", "latency", "export", "report", "replay", "new")
WRONG_INPUT = 2


def main() -> int:
    """Run the command of this process; returns the exit status. `sweep` ends the process itself."""
    name, *others = sys.argv[1:] or ["--help"]
    if name not in COMMANDS:
        return _beside_commands(name, others)
    if {"--version", "-V"} & set(others):
        return _beside_commands("--version", [])
    if not sys.flags.safe_path and os.path.isdir("."):
        # As `python -m` has it: a network of the user's own is often a file beside where the command is given.
        sys.path.insert(0, os.getcwd())
    if name == "sweep":
        from effbench.sweep.__main__ import command as sweep

        sweep(first=2)
    if name == "store":
        from effbench.store import command as store

        return store(others)
    if name == "profile":
        from effbench.profile import command as profile

        return profile(others)
    if name == "latency":
        from effbench.latency import command as latency

        return latency(others)
    if name == "export":
        from effbench.export import command as export

        return export(others)
    if name == "report":
        from effbench.report import command as report

        return report(others)
    if name == "replay":
        from effbench.replay import command as replay

        return replay(others)
    from effbench.new import main as new

    return new(others)


def _beside_commands(name: str, others: Sequence[str]) -> int:
    """Answer what is no command: the help page, the version, or which command may have been meant."""
    if name in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if name in ("-V", "--version", "version"):
        from effbench.sweep.messages import version_line

        print(version_line())
        return 0
    from effbench.sweep.messages import say

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    if "=" in name or name in ("-cd", "-cn") or name.startswith(("--config-", "+")):
        hint = f"did you mean effbench sweep {' '.join([name, *others])}?"
    else:
        hint = f"did you mean effbench {near[0]}?" if near else f"there are: {', '.join(COMMANDS)}"
    say(f"{name}: there is no such command; {hint}")
    return WRONG_INPUT


if __name__ == "__main__":
    sys.exit(main())
