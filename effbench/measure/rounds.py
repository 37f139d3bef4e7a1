"""Rounds that visit every model, in an order drawn anew each time, so that a noisy machine disturbs all alike."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import pandas as pd

from effbench.measure.stopwatch import call_for

WARM_UP_CALLS = 3
WARM_UP_SHARE = 0.1
"""Share of `seconds` that each model runs unmeasured, at least `WARM_UP_CALLS` times."""

Call = Callable[[], float]
"""Runs a model once; returns the seconds it took."""
Samples = dict[str, list[tuple[str, int, float]]]
"""By model, a sample per call: the model, the round, the milliseconds."""


def sample_rounds(
    calls: Mapping[str, Call],
    /,
    *,
    seconds: float,
    n_rounds: int,
    generator: random.Random,
    first_round: int = 0,
    on_error: Callable[[str, Exception], None] | None = None,
    on_round: Callable[[int], object] = lambda number: None,
) -> Samples:
    """Warm every model up, then time it in rounds, `seconds` / `n_rounds` in each, and one call at least.

    A visit begins with a call that is not measured: another model has just used the caches. on_error: is told of a
    model that raises, which is left out from then on, with its samples; without it the exception passes. on_round: is
    told the number of rounds that are done.
    """
    samples: Samples = {}
    order: list[str] = []

    def attempt(name: str, visit: Callable[[], None]) -> None:
        try:
            visit()
        except Exception as error:
            if on_error is None:
                raise
            on_error(name, error)
            del samples[name]
            order.remove(name)

    def warm_up(name: str) -> None:
        call_for(calls[name], WARM_UP_SHARE * seconds, at_least=WARM_UP_CALLS)

    def measure(name: str, number: int) -> None:
        calls[name]()
        times = call_for(calls[name], seconds / n_rounds, at_least=1)
        samples[name] += [(name, number, 1e3 * taken) for taken in times]

    for name in calls:
        samples[name] = []
        order.append(name)
        attempt(name, partial(warm_up, name))
    for number in range(n_rounds):
        generator.shuffle(order)
        for name in tuple(order):
            attempt(name, partial(measure, name, first_round + number))
        on_round(number + 1)
    return samples


def samples_frame(samples: Samples, order: Iterable[str], /) -> pd.DataFrame:
    """Return samples as a table, model after model: model, round, latency_ms."""
    rows = itertools.chain.from_iterable(samples.get(name, ()) for name in order)
    return pd.DataFrame(rows, columns=["model", "round", "latency_ms"])
