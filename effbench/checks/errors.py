"""An exception in one line, as users are told of it."""

from __future__ import annotations

MOST_CHARACTERS = 300


def first_line(error: BaseException | str, /) -> str:
    r"""Return the first line of a message that is not empty, without spaces around it; "" where there is none.

    >>> first_line(ValueError("no such file\nsee the manual"))
    'no such file'
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), "")[:MOST_CHARACTERS]


def kind_and_line(error: BaseException, /) -> str:
    """Return the exception's class and its first line: for what libraries raise, whose message says little alone.

    >>> kind_and_line(KeyError("conv1"))
    "KeyError: 'conv1'"
    """
    line = first_line(error)
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
