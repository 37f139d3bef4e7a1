"""How good a network is on an inference engine, and how far its answers are from those of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from effbench.compression.layers import weights_of
from effbench.data import ImageData
from effbench.measure.engine import Prepared
from effbench.measure.float_borders import borders_of
from effbench.measure.input_size import input_dtype
from effbench.plan.point import Point
from effbench.tasks import Task
from effbench.training.evaluation import evaluate_outputs, running

MOST_NAMED = 10
"""Examples that are named; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is known of a network on an engine."""

    metrics: Mapping[str, float]
    notes: Sequence[str]
    """What is not as it was asked for, a line each."""

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return {"metrics": dict(self.metrics), "notes": list(self.notes)}

    @classmethod
    def of_plain(cls, plain: object, /) -> Found | None:
        """Return what `to_plain` wrote; None where it did not."""
        if not isinstance(plain, Mapping) or not {"metrics", "notes"} <= plain.keys():
            return None
        return cls(metrics=dict(plain["metrics"]), notes=tuple(plain["notes"]))


@dataclass(frozen=True, kw_only=True)
class ThroughEngine:
    """What an engine makes of the test split."""

    qualities: dict[str, float]
    """Every quality of the task by its name, of the engine's own outputs."""
    agreement: float | None
    """The share of predictions (of a label, of a pixel) that are those of PyTorch; None where outputs are no scores."""
    max_difference: float
    """The largest distance of an output from PyTorch's."""
    disagreeing: Sequence[int]
    """The examples with another prediction, by their places in the split."""

    def names_of_disagreeing(self) -> str:
        """Return their numbers in a line, the first ones of many; "" where there are none."""
        named = ", ".join(map(str, self.disagreeing[:MOST_NAMED]))
        left = len(self.disagreeing) - MOST_NAMED
        return f"{named} and {left} more" if left > 0 else named


def evaluate_through(
    prepared: Prepared, model: nn.Module, data: ImageData, /, *, task: Task, side: int, batch: int
) -> ThroughEngine:
    """Run the test split through an engine, `batch` inputs at a time, and through PyTorch beside it.

    model: what the engine has prepared; it is left as it was. A batch that is not full is filled up with copies of its
    last input, whose outputs are dropped.
    """
    n_same, n_predictions, largest = 0, 0, 0.0
    disagreeing: list[int] = []
    n_seen = 0
    dtype = input_dtype(model)  # whatever casts a network's input may not be in an engine's file
    with running(model, torch.device("cpu")) as in_pytorch:

        def outputs_of(images: Tensor) -> Tensor:
            nonlocal n_same, n_predictions, largest, n_seen
            parts = torch.split(images.to(dtype), batch)
            outputs = torch.cat([_some(prepared, part, batch) for part in parts]).float()
            expected = in_pytorch(images)
            if outputs.shape != expected.shape:
                raise ValueError(f"the engine gives {tuple(outputs.shape)}, PyTorch {tuple(expected.shape)}")
            if bool((outputs.isfinite() != expected.isfinite()).any()):
                raise ValueError("the engine gives outputs that are not finite, or PyTorch does where it gives others")
            largest = max(largest, float((outputs - expected).nan_to_num(0.0).abs().max()))
            if outputs.ndim > 1 and outputs.shape[1] > 1:  # scores of classes
                same = outputs.argmax(1) == expected.argmax(1)
                n_same, n_predictions = n_same + int(same.sum()), n_predictions + same.numel()
                differs = ~same.reshape(len(same), -1).all(1)
                disagreeing.extend((n_seen + differs.nonzero().reshape(-1)).tolist())
            n_seen += len(images)
            return outputs

        found = evaluate_outputs(outputs_of, data, "test", task=task, side=side)
    return ThroughEngine(
        qualities=found.qualities,
        agreement=n_same / n_predictions if n_predictions else None,
        max_difference=largest,
        disagreeing=tuple(disagreeing),
    )


def _some(prepared: Prepared, images: Tensor, batch: int) -> Tensor:
    """Return the outputs of at most one batch."""
    n_missing = batch - len(images)
    whole = images if n_missing == 0 else torch.cat([images, images[-1:].expand(n_missing, *images.shape[1:])])
    return prepared.outputs(whole.contiguous())[: len(images)]


def engine_metrics(
    prepared: Callable[[], object], model: nn.Module, point: Point, /, *, name: str, batch: int
) -> Found:
    """Return what is to be known of a run's network on an engine, but for its speed.

    prepared: what the engine has made of `model`. name: of the metrics, as in `size_bytes/<name>`.
    """
    if not isinstance(prepared, Prepared):
        return Found(metrics={}, notes=("its quality there is not known: the engine gives no outputs",))
    weights = sum(weight.value().numel() for weight in weights_of(model))
    metrics = {
        f"{what}/{name}": float(value)
        for what, value in (("size_bytes", prepared.n_bytes), ("download_bytes", prepared.download_bytes))
        if value is not None
    }
    notes = list(prepared.notes)
    task, data = point.chain.loaded_task(), point.chain.loaded_data()
    through = evaluate_through(prepared, model, data, task=task, side=point.eval_side, batch=batch)
    metrics |= {f"{quality}/{name}": value for quality, value in through.qualities.items()}
    metrics[f"max_difference/{name}"] = through.max_difference
    if through.agreement is not None:
        metrics[f"agreement/{name}"] = through.agreement
    if prepared.int8_weights is not None and weights:
        metrics[f"int8_share/{name}"] = prepared.int8_weights / weights
    if prepared.int8_layers:
        example = next(data.batches("test", side=point.eval_side, batch_size=1))[0].to(input_dtype(model))
        borders = borders_of(model, prepared.int8_layers, example)
        metrics |= {f"float_borders/{name}": borders.n, f"converted_activations/{name}": borders.activations}
    if through.disagreeing and not prepared.int8_weights:
        n, n_all = len(through.disagreeing), data.n_examples("test")
        notes.append(f"of {n_all} test examples {n} get another answer: {through.names_of_disagreeing()}")
    bad = [quality for quality, value in through.qualities.items() if not math.isfinite(value)]
    if bad:
        raise ValueError(f"its {bad[0]} there is {through.qualities[bad[0]]}")
    return Found(metrics=metrics, notes=tuple(notes))
