"""What a run gave, and how the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from effbench.checks.errors import kind_and_line
from effbench.plan.chain import Chain
from effbench.plan.findings import Rows
from effbench.run.counts import pack_counts, unpack_counts
from effbench.run.store import Store


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What is known of a run, but for its latency. `blob` is its file."""

    metrics: dict[str, float]
    cached_steps: tuple[str, ...]
    """The steps whose result was there already: they cost this run no time."""
    unknown_operations: tuple[str, ...]
    """Operations whose multiply-adds were not counted, because the counter does not know them."""
    blob: bytes
    counts_val: NDArray[np.int64]
    """Of the task's own quality, by validation example: (n_examples, n_ratios, 2), numerators and denominators."""
    counts_test: NDArray[np.int64]
    """Likewise by test example."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What is said of it in a word, such as why its rounds stopped."""
    tables: Mapping[str, Rows] = field(default_factory=dict)
    """What its stages measured, by the table's name."""
    was_kept: bool = False
    """Whether it comes from the store: this run, or one of another sweep, was there before."""


def is_kept(key: str, store: Store, /) -> bool:
    """Whether the store has a result of that run (unchecked: `load_result` may still find it damaged)."""
    return store.has(f"runs/{key}.json")


def load_result(key: str, store: Store, /) -> RunResult | None:
    """Return the kept result of a run, or None.

    Where a part is missing, damaged or of another version, the run has none: that is said, and it is computed again.
    """
    parts = {part: f"runs/{key}.{part}" for part in ("json", "effb", "npz")}
    record, blob, counts = store.get_json(parts["json"]), store.get(parts["effb"]), store.get(parts["npz"])
    if record is None or blob is None or counts is None:
        missing = [name for name in parts.values() if not store.has(name)]
        if record is not None and missing:  # the record is written last
            store.give_up(missing[0], "it is gone, and the run's record is there")
        return None
    try:
        counts_val, counts_test = unpack_counts(counts)
    except ValueError as error:
        store.give_up(parts["npz"], str(error))
        return None
    try:
        return RunResult(
            metrics=dict(record["metrics"]),
            cached_steps=tuple(record["cached_steps"]),
            unknown_operations=tuple(record["unknown_operations"]),
            blob=blob,
            counts_val=counts_val,
            counts_test=counts_test,
            was_kept=True,
            words=dict(record["words"]),
            tables=dict(record["tables"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        store.give_up(parts["json"], kind_and_line(error))
        return None


def keep_result(key: str, result: RunResult, store: Store, /) -> None:
    """Keep a result; the record goes last, so that it is never there without its parts."""
    store.put(f"runs/{key}.effb", result.blob)
    store.put(f"runs/{key}.npz", pack_counts(val=result.counts_val, test=result.counts_test))
    record = {
        "metrics": result.metrics,
        "cached_steps": result.cached_steps,
        "unknown_operations": result.unknown_operations,
        "words": result.words,
        "tables": result.tables,
    }
    store.put_json(f"runs/{key}.json", record)


def n_kept_steps(chain: Chain, store: Store, /) -> int:
    """Return how many of a chain's steps the store has the result of."""
    return max((n for n in range(1, len(chain.steps) + 1) if store.has_model(chain.prefix_keys[n])), default=0)
