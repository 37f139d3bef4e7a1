"""Loops that numba compiles. Import what uses it where it is needed: numba takes half a second to load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_njit: Any = numba.njit  # its types leave out what it calls `_nrt`
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile on first use and keep the machine code on disk; the function keeps its type for mypy.

    What is kept is dropped when the function's own file changes, not when that of a compiled function it calls does.
    """
    return cast(Function, numba.njit(cache=True, nogil=True)(function))


def allocation_free(function: Function) -> Function:
    """Compile what makes no arrays of its own, without numba's counting of references to those it is given.

    The counting is an atomic step for each array at each call: in loops of small functions it takes half the time.
    """
    return cast(Function, _njit(cache=True, nogil=True, _nrt=False)(function))


def inlined(function: Function) -> Function:
    """Compile into the `allocation_free` function that calls it: its arguments are then passed in registers."""
    return cast(Function, _njit(nogil=True, _nrt=False, forceinline=True)(function))
