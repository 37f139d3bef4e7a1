"""Data sets given as objects: the names that they have in a plan."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from effbench.data import ImageData
from effbench.data.user_datasets import user_data
from effbench.plan.given import Given, keep


class DataOf:
    """Builds a data set from what was given, once for each choice of options.

    Another process gets what was built: it has not to read and check everything once more.
    """

    def __init__(self, given: object, *, name: str) -> None:
        self._read = functools.partial(user_data, given, name=name)
        self._built: dict[str, ImageData] = {}

    @property
    def __signature__(self) -> inspect.Signature:
        """The options that there are."""
        return inspect.signature(user_data)

    def __call__(self, **options: Any) -> ImageData:
        """Return the data set."""
        key = json.dumps(options, sort_keys=True)
        if key not in self._built:
            self._built[key] = self._read(**options)
        return self._built[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return _data_that_was_built, (self._built,)


def _data_that_was_built(built: dict[str, ImageData]) -> DataOf:
    data = DataOf.__new__(DataOf)
    data._built = built
    return data


def give_data(data: object, /) -> str:
    """Return the name in a plan of data sets, arrays, or an object that has them: see `effbench.data.user_data`.

    Errors as there.
    """
    name = _data_name(data)
    builds = DataOf(data, name=name)
    return keep(Given(name=name, content=builds().fingerprint, build=builds))


def _data_name(data: object) -> str:
    """Return under which name data are logged: that of their class, where they have one of their own."""
    first = (
        next(iter(data.values() if isinstance(data, Mapping) else data), None) if isinstance(data, _HOLDERS) else data
    )
    if isinstance(first, (*_HOLDERS, np.ndarray, Tensor)) or first is None:
        return "arrays"
    return str(getattr(first, "name", None) or type(getattr(first, "dataset", first)).__name__)


_HOLDERS = (list, tuple, Mapping)
