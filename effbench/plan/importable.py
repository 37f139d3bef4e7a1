"""Whether another process finds a class or function by importing it: not what a notebook or script itself holds."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

from effbench.plan.modules import find


def is_importable(target: Any, /) -> bool:
    """Whether a class or function is what stands, in a module of a file, under its own name."""
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return False
    return _is_from_a_file(module) and at(module, name) is target


def _is_from_a_file(module: str) -> bool:
    """Whether importing a module gives the same again: it lies in a file, or comes with Python."""
    if module in sys.builtin_module_names:
        return True
    spec = None if module in ("__main__", "__mp_main__") else find(module)
    origin = None if spec is None else spec.origin
    return origin in ("built-in", "frozen") or (origin is not None and Path(origin).exists())


def at(module: str, name: str, /) -> Any:
    """Return what stands in a module under a name, as in "Class.method"; None where there is nothing."""
    return functools.reduce(lambda found, part: getattr(found, part, None), name.split("."), sys.modules.get(module))
