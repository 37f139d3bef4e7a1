"""Packages that effbench uses where they are installed, and says how to install where they are not."""

from __future__ import annotations

import importlib
from typing import Any

from effbench.checks.errors import kind_and_line


def import_extra(package: str, /, *, needed_by: str, extra: str | None = None) -> Any:
    """Return a package of an extra (of the same name, if none is said).

    ValueError, in one line, where it is not there or can't be used: it says what to install for `needed_by`.

    >>> import_extra("no_such_extra", needed_by="x:y")
    Traceback (most recent call last):
    ValueError: x:y needs no_such_extra, which is not installed: pip install 'effbench[no_such_extra]'
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name == package:
            raise ValueError(
                f"{needed_by} needs {package}, which is not installed: pip install 'effbench[{extra or package}]'"
            ) from None
        raise ValueError(f"{needed_by}: {package} can't be imported ({kind_and_line(error)})") from None
    except Exception as error:  # whatever a package raises that does not go with the others
        raise ValueError(f"{needed_by}: {package} can't be imported ({kind_and_line(error)})") from None
