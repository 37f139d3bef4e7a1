"""One run, end to end: chain → network → file → the network that was read back → measurements."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from effbench.analysis.curves.details import calibration_error, worst_group
from effbench.checks.autologging import without_autologging
from effbench.codec import Written, decode, encode_each
from effbench.measure.compute import count_cost
from effbench.measure.energy import modelled_energy_uj
from effbench.measure.memory import peak_memory
from effbench.plan.findings import Findings, Rows
from effbench.plan.point import Point
from effbench.run.following import Tell
from effbench.run.made import Made
from effbench.run.making import Progress, make_model
from effbench.run.results import RunResult, keep_result, load_result
from effbench.run.store import Store
from effbench.run.times import Times, noting_failure
from effbench.training.curves import CURVES
from effbench.training.evaluation import Evaluation, evaluate

TENSORS = "tensors"
"""The table of what each tensor takes in the file."""


def run_point(
    point: Point,
    store: Store,
    /,
    *,
    device: torch.device,
    progress: Progress | None = None,
    tell: Tell | None = None,
    begin: Callable[[float], None] | None = None,
) -> RunResult:
    """Return the result of a point: the one that is kept in the store, or else a new one, which is then kept.

    progress and tell: are told of steps and of epochs while the run goes on. begin: is told when it is begun to be
    computed, in seconds since 1970: not where its result was kept, nor while another process is at it.
    """
    with store.lock(point.key):
        kept = load_result(point.key, store)
        if kept is not None:
            return kept
        began = time.time()
        if begin is not None:
            begin(began)
        with noting_failure(began), without_autologging():
            result = _computed(point, store, device=device, progress=progress, tell=tell)
            result = replace(result, times=Times.since(began))
            keep_result(point.key, result, store)
        return result


def _computed(
    point: Point, store: Store, *, device: torch.device, progress: Progress | None, tell: Tell | None
) -> RunResult:
    point.chain.check_code()
    torch.set_num_threads(point.chain.threads)
    made = make_model(point.chain, store, device=device, progress=progress, tell=tell, watching=point.watching)
    files = encode_each(made.model, coders=dict.fromkeys((point.coder, "none")))
    read_back = decode(files[0].blob, point.chain.fresh_network())
    return measure(point, read_back, made, files[0], device=device, packed_bytes=len(files[-1].blob))


def measure(
    point: Point, model: nn.Module, made: Made, file: Written, /, *, device: torch.device, packed_bytes: int
) -> RunResult:
    """Measure the network that was read back from its file.

    made: what the file was made of. packed_bytes: the file's without entropy coding.
    """
    blob = file.blob
    task, data = point.chain.loaded_task(), point.chain.loaded_data()
    validation = evaluate(model, data, "val", task=task, side=point.eval_side, device=device)
    test = evaluate(model, data, "test", task=task, side=point.eval_side, device=device, with_examples=True)
    cost = count_cost(model, point.input_size)
    return RunResult(
        metrics={
            **test.qualities,
            **{f"{name}_val": quality for name, quality in validation.qualities.items()},
            "loss": test.loss,
            **_details(test),
            "macs": cost.macs,
            "macs_effective": cost.macs_effective,
            "flops": cost.flops,
            "params": cost.params,
            "params_nonzero": cost.params_nonzero,
            **_modelled(point, model, made),
            "size_bytes": len(blob),
            "size_ratio": point.reference_bytes / len(blob),
            "coding_gain": packed_bytes / len(blob),
            "train_seconds": made.seconds,
            **made.findings.spent.metrics,
            **made.findings.metrics,
            **made.findings.peaks,
        },
        cached_steps=made.cached,
        unknown_operations=cost.unknown,
        blob=blob,
        counts_val=validation.own_counts,
        counts_test=test.own_counts,
        test_examples=_examples(test),
        words={**made.findings.words, **made.findings.spent.words},
        tables={**made.findings.tables, **curves_table(made.findings), TENSORS: list(map(asdict, file.tensor_sizes()))},
    )


def curves_table(findings: Findings) -> dict[str, Rows]:
    """Return the training curves as a table under its name; nothing where there are none."""
    rows = [row for rows in findings.curves.values() for row in rows]
    return {CURVES: rows} if rows else {}


def _modelled(point: Point, model: nn.Module, made: Made) -> dict[str, float]:
    """Return the peak memory and the modelled energy; one that can't be counted is left out.

    The energy is that of the network as the file was made of it, whose values are the same: only there every tensor has
    the grid or the codebook in whose codes the file stores it.
    """
    modelled: dict[str, float] = {}
    with suppress(ValueError):
        modelled["peak_memory_bytes"] = peak_memory(model, point.input_size).total
    with suppress(ValueError):
        modelled["energy_modelled_uj"] = modelled_energy_uj(made.model, point.input_size)
    return modelled


def _examples(test: Evaluation) -> dict[str, NDArray[Any]]:
    """Return what the task knows of each test example, and where it names a class for each, whether that is right."""
    known = dict(test.examples)
    if {"group", "predicted"} <= set(known):
        known["is_right"] = known["group"] == known["predicted"]
    return known


def _details(test: Evaluation) -> dict[str, float]:
    """Return what the test examples tell beside the qualities: the worst class, the calibration error."""
    name, counts, known = next(iter(test.counts)), test.own_counts, test.examples
    details = {}
    if "group" in known and test.kinds[name] == "ratio":
        details[f"{name}_worst_class"] = worst_group(counts, known["group"], lower_is_better=test.direction == "lower")
    if {"group", "predicted", "confidence"} <= set(known):
        details["calibration_error"] = calibration_error(known["group"] == known["predicted"], known["confidence"])
    return details
