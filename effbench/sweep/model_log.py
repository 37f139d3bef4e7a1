"""The networks of a sweep's runs logged as MLflow's own models, where that is asked for: `tracking.log_model=true`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from effbench.codec import decode
from effbench.data import ImageData
from effbench.plan.point import Point
from effbench.run.interruption import check
from effbench.run.results import load_result
from effbench.run.store import Store
from effbench.tracking.tracker import Tracker, TrackingError

if TYPE_CHECKING:
    from effbench.tracking.models import ServedNetwork

EXAMPLES = 2
"""What is in an input example: torch.export takes a batch of one for one that is always one."""
_STEP = 1 / 16
"""What the numbers of an example are multiples of: written out, others take four times the room."""


def log_models(
    points: Sequence[Point], store: Store, tracker: Tracker, /, *, say: Callable[[str], None]
) -> TrackingError | None:
    """Log the network of each run that is logged and has no model yet; returns why the tracker did not take them all.

    A network that can't be written down is told of in a line; its run, and all the others, are as they were.
    """
    try:
        there = tracker.keys_with_models()
        wanted = [point for point in points if point.key in tracker.finished_keys() - there]
        if wanted:
            say(f"logging the models of {len(wanted)} runs")
        for point in wanted:
            check()
            reason = tracker.log_model(point.key, served_network(point, store))
            if reason is not None:
                say(
                    f"{point}: no model is logged: its network can't be exported ({reason}); effbench.load_model has it"
                )
    except TrackingError as error:
        return error
    return None


def served_network(point: Point, store: Store, /) -> ServedNetwork:
    """Return what is logged of a finished run's network, which is read back from the run's file.

    OSError where its result is gone from the store.
    """
    from effbench.tracking.models import ServedNetwork

    result = load_result(point.key, store)
    if result is None:
        raise OSError(f"the result of {point} is gone from {store.root}; the same command computes it again")
    random = torch.Generator().manual_seed(0)
    example = torch.randn(EXAMPLES, *point.input_size, generator=random)
    return ServedNetwork(
        name=point.network_name,
        network=decode(result.blob, point.chain.fresh_network()).eval(),
        example=(example / _STEP).round() * _STEP,
        metadata=described(point),
    )


def described(point: Point, /) -> dict[str, Any]:
    """Return what somebody who gives images to the model has to know."""
    data, task = point.chain.loaded_data(), point.chain.loaded_task()
    channels, side, _ = point.input_size
    known = {"classes": list(data.classes)} if data.classes else {}
    return {
        "input": f"float32 (N, {channels}, {side}, {side}): {_scale(data)}",
        "output": f"what the network answers for {task.name}, before any softmax or argmax",
        "example": "made-up numbers, no images of the data set",
        "task": task.name,
        "data": data.name,
        "run_key": point.key,
        **known,
    }


def _scale(data: ImageData) -> str:
    """Return in which scale a data set gives its images to networks."""
    mean, deviation = getattr(data, "mean", None), getattr(data, "std", None)
    if mean is None or deviation is None:
        return f"images as the data set {data.name} gives them, not raw pixels unless it gives these"
    if not any(mean) and set(deviation) == {1.0}:
        return "pixels from 0 to 1, not from 0 to 255"
    return (
        f"normalised images, not raw pixels: (pixel / 255 - mean) / deviation for each channel, with mean "
        f"{list(mean)} and deviation {list(deviation)}"
    )
