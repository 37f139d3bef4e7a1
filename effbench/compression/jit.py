"""Loops that numba compiles. Import what uses it where it is needed: numba takes half a second to load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile on first use and keep the machine code on disk; the function keeps its type for mypy.

    What is kept is dropped when the function's own file changes, not when that of a compiled function it calls does.
    """
    return cast(Function, numba.njit(cache=True, nogil=True)(function))
