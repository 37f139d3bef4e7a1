"""The definitions of a saturation point, by their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from effbench.analysis.curves.curve import Curve
from effbench.analysis.definitions.choice import Choice
from effbench.analysis.definitions.exchange import Marginal, Price
from effbench.analysis.definitions.knee import Kneedle
from effbench.analysis.definitions.tolerance import Tolerance, ToleranceBound


class Method(Protocol):
    """A definition of the saturation point: a frozen dataclass, whose fields are its options."""

    def choose(self, curve: Curve, drawn: NDArray[np.float64] | None = None, /) -> Choice:
        """Choose a point; drawn: losses on other examples and with other seeds, (n_resamples, n_points), if known."""

    def looked_at(self, curve: Curve, drawn: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return what `rows` takes of drawn losses: of all or of the first resamples, (n_looked_at, n_points)."""

    def rows(self, curve: Curve, losses: NDArray[np.float64], /) -> NDArray[np.int64]:
        """Return the row that each resample chooses, `NO_ROW` for none: (n_looked_at,). losses: as `looked_at`."""


METHODS: Mapping[str, type[Any]] = {
    "tolerance": Tolerance,
    "tolerance_bound": ToleranceBound,
    "kneedle": Kneedle,
    "marginal": Marginal,
    "price": Price,
}


def method_of(name: str, options: Mapping[str, Any], /) -> Method:
    """Return a method with its options. ValueError for an unknown method, an option that it has not or lacks.

    >>> method_of("marginal", {"rate": 0.5})
    Marginal(rate=0.5)
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; there are {sorted(METHODS)}")
    kind = METHODS[name]
    own = dataclasses.fields(kind)
    for option in options:
        if option not in {field.name for field in own}:
            raise ValueError(f"method {name!r} has no option {option!r}; it takes {[field.name for field in own]}")
    for field in own:
        if field.default is dataclasses.MISSING and options.get(field.name) is None:
            raise ValueError(f"method {name!r} needs {field.name}, as in {field.name}=1000")
    method: Method = kind(**options)
    return method


def with_tolerance(method: str, options: Mapping[str, Any], tolerance: float, /) -> dict[str, Any]:
    """Return a method's options, with a tolerance where it has one and none is among them."""
    return {"tolerance": tolerance, **options} if method.startswith("tolerance") else dict(options)


def answerable_costs(costs: Sequence[str], method: str, options: Mapping[str, Any], /) -> list[str]:
    """Return the costs that a method can be asked about. ValueError where none has a price."""
    if method != "price":
        return list(costs)
    prices = options.get("price") or {}
    priced = [cost for cost in costs if cost in prices]
    if costs and not priced:
        given = ", ".join(prices) or "none"
        raise ValueError(f"price: there is none of {', '.join(costs)}; given: {given}")
    return priced


def options_on(cost: str, method: str, options: Mapping[str, Any], tolerance: float, /) -> dict[str, Any]:
    """Return what a method is asked on one cost."""
    return {"price": options["price"][cost]} if method == "price" else with_tolerance(method, options, tolerance)


def options_of(name: str, /) -> list[str]:
    """Return the names of a method's options."""
    return [field.name for field in dataclasses.fields(METHODS[name])]
