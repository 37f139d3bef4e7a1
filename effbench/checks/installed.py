"""Whether this Python has the packages that effbench needs: a forgotten activation is told in a line."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from effbench.checks.text import shell_quoted

NEEDED = ("numpy", "torch", "hydra", "mlflow", "filelock")
"""Modules of packages that no environment of effbench lacks."""
ENVIRONMENT = Path(".venv", "bin", "activate")


def what_to_activate() -> str | None:
    """Return what to do where packages are missing; None where they are there. Nothing is imported for it."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return None
    checkout = Path(__file__).parents[2]
    found = [folder for folder in (Path(), checkout) if (folder / ENVIRONMENT).is_file()]
    line = f". {shell_quoted(os.path.relpath(found[0] / ENVIRONMENT))}" if found else f". {ENVIRONMENT}"
    first = "type" if found else "make setup, then type"
    return f"{sys.executable} has no {', '.join(missing)}: it is another Python than effbench's; {first}  {line}"
