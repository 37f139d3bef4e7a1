"""What a run gave, and how the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from effbench.plan.findings import Rows
from effbench.plan.point import Point
from effbench.run.correctness import pack_correctness, unpack_correctness
from effbench.run.store import Store


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What is known of a run, but for its latency. `blob` is its file; `correct_*` are (n_examples,) bool."""

    metrics: dict[str, float]
    cached_steps: tuple[str, ...]
    """The steps whose result was there already: they cost this run no time."""
    unknown_operations: tuple[str, ...]
    """Operations whose multiply-adds were not counted, because the counter does not know them."""
    blob: bytes
    correct_val: np.ndarray
    correct_test: np.ndarray
    tables: Mapping[str, Rows] = field(default_factory=dict)
    """What its stages measured, by the table's name."""
    was_kept: bool = False
    """Whether it comes from the store: this run, or one of another sweep, was there before."""


def is_kept(key: str, store: Store, /) -> bool:
    """Whether the store has a result of that run (unchecked: `load_result` may still find it damaged)."""
    return store.has(f"runs/{key}.json")


def load_result(key: str, store: Store, /) -> RunResult | None:
    """Return the kept result of a run, or None; a part that is damaged or missing makes it none."""
    record, blob, bits = store.get_json(f"runs/{key}.json"), store.get(f"runs/{key}.effb"), store.get(f"runs/{key}.npz")
    if record is None or blob is None or bits is None:
        return None
    correct_val, correct_test = unpack_correctness(bits)
    return RunResult(
        metrics=record["metrics"],
        cached_steps=tuple(record["cached_steps"]),
        unknown_operations=tuple(record["unknown_operations"]),
        blob=blob,
        correct_val=correct_val,
        correct_test=correct_test,
        was_kept=True,
        tables=record["tables"],
    )


def keep_result(key: str, result: RunResult, store: Store, /) -> None:
    """Keep a result; the record goes last, so that it is never there without its parts."""
    store.put(f"runs/{key}.effb", result.blob)
    store.put(f"runs/{key}.npz", pack_correctness(val=result.correct_val, test=result.correct_test))
    record = {
        "metrics": result.metrics,
        "cached_steps": result.cached_steps,
        "unknown_operations": result.unknown_operations,
        "tables": result.tables,
    }
    store.put_json(f"runs/{key}.json", record)


def n_kept_steps(point: Point, store: Store, /) -> int:
    """Return how many of a point's steps the store has the result of."""
    return max((n for n in range(1, len(point.steps) + 1) if store.has_model(point.prefix_keys[n])), default=0)
