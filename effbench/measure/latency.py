"""Milliseconds of inference, measured in rounds that visit every model, so that a noisy machine disturbs all alike.

After MLPerf Inference (Reddi et al. 2020, arXiv:1911.02549): warm-up, then enough repetitions and enough time, median
and 90th percentile, no outlier dropped.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from effbench.measure.cores import held_to
from effbench.measure.engine import Engine, find_engine
from effbench.measure.input_size import checked_size, input_dtype
from effbench.measure.rounds import sample_rounds, samples_frame
from effbench.measure.stopwatch import Clock, quiet, timed

NamedModels = Mapping[str, nn.Module] | Sequence[nn.Module] | nn.Module
InputSize = Sequence[int] | Mapping[str, Sequence[int]]


def measure_latency(
    models: NamedModels,
    input_size: InputSize,
    /,
    *,
    engine: str | Engine = "eager",
    threads: int = 1,
    batch: int = 1,
    seconds: float = 1.0,
    n_rounds: int = 20,
    seed: int = 0,
    reference: str | None = None,
    clock: Clock = time.perf_counter,
) -> pd.DataFrame:
    """Measure how long each model takes for one batch, and how much faster it is than the reference.

    `sample_latency` takes the samples (its docstring says how), `summarise_latency` reduces them.

    Returns
    -------
    pandas.DataFrame
        A row per model, in the order given: model, engine, batch, threads, and the columns of `summarise_latency`.

    Raises
    ------
    ValueError
        If there is no model, the reference is not among them, the engine is unknown or an option is out of range.

    Examples
    --------
    >>> frame = measure_latency({"wide": nn.Linear(512, 512), "slim": nn.Linear(512, 8)}, (512,), seconds=0.02)
    >>> frame[["model", "engine", "batch", "threads"]].values.tolist()
    [['wide', 'eager', 1, 1], ['slim', 'eager', 1, 1]]
    """
    engine = find_engine(engine) if isinstance(engine, str) else engine
    named = _named(models)
    if reference is not None and reference not in named:
        raise ValueError(f"reference must be one of the models ({', '.join(named)}), got {reference!r}")
    samples = sample_latency(
        named,
        input_size,
        engine=engine,
        threads=threads,
        batch=batch,
        seconds=seconds,
        n_rounds=n_rounds,
        seed=seed,
        clock=clock,
    )
    summary = summarise_latency(samples, reference=reference or next(iter(named)))
    summary.insert(1, "engine", engine.name)
    summary.insert(2, "batch", batch)
    summary.insert(3, "threads", threads)
    return summary


def sample_latency(
    models: NamedModels,
    input_size: InputSize,
    /,
    *,
    engine: str | Engine = "eager",
    threads: int = 1,
    batch: int = 1,
    seconds: float = 1.0,
    n_rounds: int = 20,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> pd.DataFrame:
    """Time single calls of every model, in rounds.

    A round visits every model once, in an order drawn anew each time. A visit makes one unmeasured call (another model
    has just used the caches), then measures calls one by one for `seconds` / `n_rounds`, at least one. So every model
    gets at least `n_rounds` samples, and at least `seconds` of time. torch's number of threads is set to `threads`
    meanwhile, and set back; the garbage collector waits, and the process stays on so many cores (`cores.held_to`).
    Every model is held as the engine prepared it, all at once.

    Parameters
    ----------
    models
        Models by name; or a sequence of them, named "0", "1", …; or one, named by its class.
    input_size
        Size of one input without the batch, as in (3, 224, 224), or a size for each model by its name. The values are
        normal random numbers.
    engine
        An engine or its name.
    batch
        Inputs per call.
    seconds
        Time measured per model.
    clock
        Returns seconds, like time.perf_counter.

    Returns
    -------
    pandas.DataFrame
        A row per call, none left out, model after model in the order given: model, round (from 0), latency_ms (of the
        whole batch).

    Raises
    ------
    ValueError
        If there is no model, the engine is unknown or an option is out of range.
    """
    engine = find_engine(engine) if isinstance(engine, str) else engine
    named = _named(models)
    sizes = _sizes(named, input_size)
    _check_options(threads=threads, batch=batch, n_rounds=n_rounds, seconds=seconds)
    with quiet(threads):
        calls = {
            name: timed(
                engine.prepare(model, example_input(model, (batch, *sizes[name]), seed), threads=threads), engine, clock
            )
            for name, model in named.items()
        }
        with held_to(threads):
            samples = sample_rounds(calls, seconds=seconds, n_rounds=n_rounds, generator=random.Random(seed))
    return samples_frame(samples, named)


def summarise_latency(samples: pd.DataFrame, /, *, reference: str) -> pd.DataFrame:
    """Reduce the samples of `sample_latency` to a row per model, in the order in which models first appear.

    Columns: model, n_samples, latency_ms (median), latency_ms_p90, latency_ms_p99, latency_ms_iqr (the middle half's
    width), latency_ms_spread (the middle half's width of the rounds' medians, as a share of the median), speedup
    (above 1 is faster than the reference), speedup_iqr, and the ends of its 95 % interval, speedup_low, speedup_high.

    The speed-up is the median over rounds of the reference's median ÷ the model's median in that round, not the ratio
    of the overall medians: both halves of a round's ratio were measured in the same moments, so that what slows the
    machine down for some rounds cancels out. Rounds that only one of them was in do not count. Its interval is that of
    a median, from the ranks of the rounds' ratios (Conover 1999, Practical Nonparametric Statistics, section 3.2): it
    asks for no distribution. ValueError if the reference has no samples.
    """
    if not (samples["model"] == reference).any():
        raise ValueError(f"reference must be one of the models measured, got {reference!r}")
    per_round = samples.groupby(["round", "model"])["latency_ms"].median().unstack("model")
    speedups = per_round.rdiv(per_round[reference], axis=0)
    rows = []
    for name, times in samples.groupby("model", sort=False)["latency_ms"]:
        low, median, high, p90, p99 = times.quantile([0.25, 0.5, 0.75, 0.9, 0.99])
        between = per_round[name].dropna().quantile([0.25, 0.75])
        paired = speedups[name].dropna()
        speedup_low, speedup, speedup_high = paired.quantile([0.25, 0.5, 0.75])
        rows.append(
            {
                "model": name,
                "n_samples": len(times),
                "latency_ms": median,
                "latency_ms_p90": p90,
                "latency_ms_p99": p99,
                "latency_ms_iqr": high - low,
                "latency_ms_spread": (between[0.75] - between[0.25]) / median,
                "speedup": speedup,
                "speedup_iqr": speedup_high - speedup_low,
                **dict(zip(("speedup_low", "speedup_high"), median_interval(paired.to_numpy()), strict=True)),
            }
        )
    return pd.DataFrame(rows)


def median_interval(values: NDArray[np.float64], /, *, level: float = 0.95) -> tuple[float, float]:
    """Return the ends of an interval of a median, which are values: by ranks, so that outliers count as ranks only.

    values: (n,); of none, both ends are NaN. The interval has at least the level wanted where n allows it (6 values for
    95 %), else all of them.

    >>> median_interval(np.arange(20.0))
    (5.0, 14.0)
    """
    if not len(values):
        return math.nan, math.nan
    ordered = np.sort(values)
    n, tail = len(ordered), 0.0
    rank = 0
    while rank < n // 2 and tail + math.comb(n, rank) / 2**n <= (1 - level) / 2:
        tail += math.comb(n, rank) / 2**n
        rank += 1
    first = max(0, rank - 1)
    return float(ordered[first]), float(ordered[n - 1 - first])


def _named(models: NamedModels) -> dict[str, nn.Module]:
    """Give every model a name. ValueError if there is none."""
    if isinstance(models, nn.Module):
        return {type(models).__name__: models}
    named = dict(models) if isinstance(models, Mapping) else {str(i): model for i, model in enumerate(models)}
    if not named:
        raise ValueError("models must hold at least one model, got none")
    return named


def _sizes(named: Iterable[str], input_size: InputSize) -> dict[str, tuple[int, ...]]:
    """Return the size of one input of each model. ValueError names a model without one."""
    if not isinstance(input_size, Mapping):
        return dict.fromkeys(named, checked_size(input_size))
    missing = [name for name in named if name not in input_size]
    if missing:
        raise ValueError(f"input_size has no size for {', '.join(missing)}")
    return {name: checked_size(input_size[name]) for name in named}


def example_input(model: nn.Module, size: tuple[int, ...], seed: int) -> Tensor:
    """Return the input that a model is timed on. size: with the batch."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(input_dtype(model))


def _check_options(*, seconds: float, **counts: int) -> None:
    """Refuse, by name, what is out of range."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {count!r}")
    if not math.isfinite(seconds) or seconds <= 0:
        raise ValueError(f"seconds must be a finite number above 0, got {seconds!r}")
