"""What came out of a sweep as data, for those who read it by a program: the runs, and the answers with their points."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from effbench.analysis import Answer, Quality
from effbench.sweep.documents import records_of, strict


def answer_record(
    frame: pd.DataFrame, found: Sequence[Answer], /, *, sweep_id: str, tolerance: float
) -> dict[str, Any]:
    """Return JSON-able data: quality, tolerance, a mapping per run (the frame's columns) and per answer."""
    quality = dataclasses.asdict(Quality.of_frame(frame)) if len(frame) else None
    return {
        "sweep": sweep_id,
        "quality": strict(quality),
        "tolerance": tolerance,
        "answers": [_answer(answer) for answer in found],
        "runs": records_of(frame),
    }


def _answer(answer: Answer) -> dict[str, Any]:
    """Return an answer: its saturation point with what it costs and its quality, null where there is none."""
    said: dict[str, Any] = {"group": answer.group, "cost": answer.cost, "sentence": answer.sentence}
    said["details"] = list(answer.details)
    saturation = answer.saturation
    if saturation is None:
        return {**said, "point": None, "reason": answer.sentence}
    point = None
    if saturation.point is not None:
        wanted = ("point", saturation.cost, saturation.quality, saturation.quality.removesuffix("_val"))
        point = {name: saturation.point[name] for name in dict.fromkeys(wanted) if name in saturation.point.index}
    method = {"method": saturation.method, "quality": saturation.quality, "reason": saturation.reason}
    firmness = {
        "shares": None if saturation.shares is None else dict(saturation.shares),
        "stable": saturation.is_stable,
        "covers": saturation.covers or None,
        "loss_interval_95": _ends(saturation.loss_interval),
        "test_loss": saturation.test_loss,
        "test_loss_interval_95": _ends(saturation.test_loss_interval),
        "newly_wrong_and_right": _ends(saturation.flips),
        "changes_on_test": {
            name: {"loss": change.loss, "interval_95": list(change.interval)}
            for name, change in saturation.changes.items()
        },
    }
    return dict(strict({**said, **method, "point": point, "interval_95": _ends(saturation.interval), **firmness}))


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
