"""What a run gave, and how the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from effbench.checks.errors import kind_and_line
from effbench.plan.chain import Chain
from effbench.plan.findings import Rows
from effbench.run.counts import pack_counts, unpack_counts, unpack_test_examples
from effbench.run.store import Store
from effbench.run.times import Times


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
    test_examples: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What else the task knows of each test example, (n_examples,): its "group", the "confidence" in what was
    predicted and whether that "is_right"; nothing where an earlier version kept it."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What is said of it in a word, such as why its rounds stopped."""
    tables: Mapping[str, Rows] = field(default_factory=dict)
    """What its stages measured, by the table's name."""
    times: Times | None = None
    """When it was computed; None where an earlier version kept it, which did not note it."""
    was_kept: bool = False
    """Whether it comes from the store: this run, or one of another sweep, was there before."""


def parts_of(key: str, /) -> tuple[str, str, str]:
    """Return the names of the entries that a run's result is kept in: its record, its file, its counts."""
    return f"runs/{key}.json", f"runs/{key}.effb", f"runs/{key}.npz"


def is_kept(key: str, store: Store, /) -> bool:
    """Whether the store has a result of that run (unchecked: `load_result` may still find it damaged)."""
    return store.has(parts_of(key)[0])


def load_result(key: str, store: Store, /) -> RunResult | None:
    """Return the kept result of a run, or None.

    Where a part is missing, damaged or of another version, the run has none: that is said, and it is computed again.
    """
    parts = of_record, of_file, of_counts = parts_of(key)
    record, blob, counts = store.get_json(of_record), store.get(of_file), store.get(of_counts)
    if record is None or blob is None or counts is None:
        missing = [name for name in parts if not store.has(name)]
        if record is not None and missing:  # the record is written last
            store.give_up(missing[0], "it is gone, and the run's record is there")
        return None
    try:
        counts_val, counts_test = unpack_counts(counts)
        test_examples = unpack_test_examples(counts)
    except ValueError as error:
        store.give_up(of_counts, str(error))
        return None
    try:
        return RunResult(
            metrics=dict(record["metrics"]),
            cached_steps=tuple(record["cached_steps"]),
            unknown_operations=tuple(record["unknown_operations"]),
            blob=blob,
            counts_val=counts_val,
            counts_test=counts_test,
            test_examples=test_examples,
            was_kept=True,
            words=dict(record["words"]),
            tables=dict(record["tables"]),
            times=Times.of_plain(record.get("times")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        store.give_up(of_record, kind_and_line(error))
        return None


def load_tables(key: str, store: Store, /) -> Mapping[str, Rows]:
    """Return the tables of a kept run, without its file and its counts; none where the store does not have it."""
    record = store.get_json(parts_of(key)[0]) or {}
    tables = record.get("tables")
    return dict(tables) if isinstance(tables, Mapping) else {}


def keep_result(key: str, result: RunResult, store: Store, /) -> None:
    """Keep a result; the record goes last, so that it is never there without its parts."""
    of_record, of_file, of_counts = parts_of(key)
    store.put(of_file, result.blob)
    examples = pack_counts(val=result.counts_val, test=result.counts_test, test_examples=result.test_examples)
    store.put(of_counts, examples)
    record = {
        "metrics": result.metrics,
        "cached_steps": result.cached_steps,
        "unknown_operations": result.unknown_operations,
        "words": result.words,
        "tables": result.tables,
        **({} if result.times is None else {"times": result.times.to_plain()}),
    }
    store.put_json(of_record, record)


def n_kept_steps(chain: Chain, store: Store, /) -> int:
    """Return how many of a chain's steps the store has the result of."""
    return max((n for n in range(1, len(chain.steps) + 1) if store.has_model(chain.prefix_keys[n])), default=0)
