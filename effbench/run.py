"""One run, end to end: stages -> file -> the model that was read back -> measurements."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from effbench.codec import decode, encode
from effbench.measure.compute import count_cost
from effbench.plan import Point, load_data
from effbench.recipe import Context
from effbench.store import Store
from effbench.training.evaluation import evaluate

Progress = Callable[[str, int, int], None]
"""Called as progress(step, done, in_all)."""

WORTH_KEEPING_SECONDS = 0.5
"""A network whose last step was quicker than this is made again rather than kept on disk."""


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


def run_point(point: Point, store: Store, /, *, device: torch.device, progress: Progress | None = None) -> RunResult:
    """Return the result of a point: the one that is kept in the store, or else a new one, which is then kept."""
    with store.lock(point.key):
        kept = load_result(point.key, store)
        if kept is not None:
            return kept
        torch.set_num_threads(point.threads)
        model, seconds, cached = make_model(point, store, device=device, progress=progress)
        blob = encode(model, coder=point.coder)
        gain = 1.0 if point.coder == "none" else len(encode(model, coder="none")) / len(blob)
        result = measure(point, decode(blob, point.fresh_network()), blob, seconds, cached, device, coding_gain=gain)
        _keep_result(point.key, result, store)
        return result


def make_model(
    point: Point, store: Store, /, *, device: torch.device, progress: Progress | None = None
) -> tuple[nn.Module, float, tuple[str, ...]]:
    """Run the stages of a point, from the longest prefix that the store holds.

    Returns the model, the seconds spent on stages now, and the names of the steps that were not run.
    """
    data, keys = load_data(point.data), point.prefix_keys
    model, n_done = _resume(point, store)
    cached = tuple(str(step) for step in point.steps[:n_done])
    seconds = 0.0
    for step, key in list(zip(point.steps, keys[1:], strict=True))[n_done:]:
        with store.lock(key):
            kept = store.get_model(key, point.fresh_network()) if store.has_model(key) else None
            if kept is not None:  # another process was quicker
                model, cached = kept, (*cached, str(step))
                continue
            started = time.perf_counter()
            context = Context(
                data=data,
                side=point.side,
                seed=point.seed,
                step=str(step),
                device=device,
                evaluate=lambda candidate: evaluate(candidate, data, "val", side=point.side, device=device).accuracy,
                cost=lambda candidate: count_cost(candidate, (data.channels, point.side, point.side)),
                progress=None if progress is None else partial(progress, str(step)),
            )
            model = step.stage.apply(model, context).eval()
            elapsed = time.perf_counter() - started
            seconds += elapsed
            if elapsed > WORTH_KEEPING_SECONDS:
                store.put_model(key, model)
    return model, seconds, cached


def measure(
    point: Point,
    model: nn.Module,
    blob: bytes,
    seconds: float,
    cached: tuple[str, ...],
    device: torch.device,
    *,
    coding_gain: float,
) -> RunResult:
    """Measure the model that was read back from `blob`; `coding_gain` is the bytes without entropy coding over its."""
    data = load_data(point.data)
    validation = evaluate(model, data, "val", side=point.eval_side, device=device)
    test = evaluate(model, data, "test", side=point.eval_side, device=device)
    cost = count_cost(model, point.input_size)
    return RunResult(
        metrics={
            "accuracy": test.accuracy,
            "accuracy_val": validation.accuracy,
            "loss": test.loss,
            "macs": cost.macs,
            "macs_effective": cost.macs_effective,
            "flops": cost.flops,
            "params": cost.params,
            "params_nonzero": cost.params_nonzero,
            "size_bytes": len(blob),
            "size_ratio": point.reference_bytes / len(blob),
            "coding_gain": coding_gain,
            "train_seconds": seconds,
        },
        cached_steps=cached,
        unknown_operations=cost.unknown,
        blob=blob,
        correct_val=validation.correct,
        correct_test=test.correct,
    )


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
    )


def _keep_result(key: str, result: RunResult, store: Store) -> None:
    """Keep a result; the record goes last, so that it is never there without its parts."""
    store.put(f"runs/{key}.effb", result.blob)
    store.put(f"runs/{key}.npz", pack_correctness(result))
    record = {
        "metrics": result.metrics,
        "cached_steps": result.cached_steps,
        "unknown_operations": result.unknown_operations,
    }
    store.put_json(f"runs/{key}.json", record)


def pack_correctness(result: RunResult, /) -> bytes:
    """Return the correctness of every example, eight a byte, as an npz file."""
    stream = io.BytesIO()
    np.savez(
        stream,
        val=np.packbits(result.correct_val),
        n_val=np.array(len(result.correct_val)),
        test=np.packbits(result.correct_test),
        n_test=np.array(len(result.correct_test)),
    )
    return stream.getvalue()


def unpack_correctness(content: bytes, /) -> tuple[np.ndarray, np.ndarray]:
    """Return the correctness of the validation and of the test examples, each (n_examples,) bool."""
    with np.load(io.BytesIO(content), allow_pickle=False) as bits:
        val, test = (
            np.unpackbits(bits[split], count=int(bits[f"n_{split}"])).astype(bool) for split in ("val", "test")
        )
    return val, test


def n_kept_steps(point: Point, store: Store, /) -> int:
    """Return how many of a point's steps the store has the result of."""
    return max((n for n in range(1, len(point.steps) + 1) if store.has_model(point.prefix_keys[n])), default=0)


def _resume(point: Point, store: Store) -> tuple[nn.Module, int]:
    """Return the model of the longest kept prefix and how many steps it has behind it."""
    for n_done in range(len(point.steps), 0, -1):
        key = point.prefix_keys[n_done]
        kept = store.get_model(key, point.fresh_network()) if store.has_model(key) else None
        if kept is not None:
            return kept, n_done
    return point.fresh_network(), 0
