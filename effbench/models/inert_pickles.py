"""Pickles of torch.save whose objects stay inert: tensors come out, and of all else a husk; nothing of it is called.

A checkpoint has more in it than tensors: arguments, paths, hyper-parameters, of classes that torch does not know. Its
weights-only reader refuses such a file. Here each name that it does not know stands for an empty class of that name.
"""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

_MOST_NAMES = 2000
_UNKNOWN = re.compile(r"Unsupported global: GLOBAL (\S+) was not an allowed global")
_FILLED = re.compile(r"Can only (SETITEMS?|append) .*<class 'inert\.([^']+)'>")


class Inert:
    """What stands for an object of a class that a file names. It takes anything and does nothing."""

    kind = "object"
    """The name of the class that it stands for."""

    def __new__(cls, *_args: Any, **_options: Any) -> Inert:
        """Take whatever the class would be made with."""
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_options: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None:
        """Take whatever the object would be filled with."""


class _InertList(list[Any]):
    """What stands for a class that a file fills as a list."""


def load_inertly(file: Path, /) -> Any:
    """Return what torch.save wrote, with an `Inert` for every object that is neither a tensor nor plain data.

    What `torch.load` raises of a damaged file, or one that names modules of which it takes nothing (os, sys, …).
    """
    stand_ins: dict[str, Any] = {}
    for _ in range(_MOST_NAMES):
        try:
            with (
                warnings.catch_warnings(),
                torch.serialization.safe_globals([(kind, name) for name, kind in stand_ins.items()]),
            ):
                warnings.simplefilter("ignore")  # torch's, of an unusual pickle: what matters is whether it can be read
                return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # of which only what it says about names matters here
            if not _add_stand_in(stand_ins, str(error)):
                raise
    raise ValueError(f"it names more than {_MOST_NAMES} classes")


def _add_stand_in(stand_ins: dict[str, Any], message: str) -> bool:
    """Add what the reader lacked, by its message; False where it is something else that it refused."""
    unknown = _UNKNOWN.search(message)
    if unknown:
        name = unknown[1] if "." in unknown[1] else f"builtins.{unknown[1]}"
        if name in stand_ins:
            return False
        stand_ins[name] = type(name, (Inert,), {"kind": name, "__module__": "inert"})
        return True
    filled = _FILLED.search(message)
    if filled and filled[2] in stand_ins and stand_ins[filled[2]] not in (OrderedDict, _InertList):
        # A subclass of dict or list: its own code is not run, what it was filled with is kept.
        stand_ins[filled[2]] = _InertList if filled[1] == "append" else OrderedDict
        return True
    return False
