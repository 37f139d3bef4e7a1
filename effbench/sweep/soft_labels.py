"""The soft labels that a run learned from, as a file of it: given back as stage.distill.labels, they teach again."""

from __future__ import annotations

from contextlib import suppress

import safetensors
import safetensors.torch
from torch import Tensor

from effbench.data.paths import remark
from effbench.plan.chain import Step
from effbench.plan.point import Point
from effbench.plan.teacher import label_name
from effbench.run.store import Store
from effbench.stages.distill import Distill
from effbench.training.label_files import pack_labels

FILE = "soft_labels.npz"
MOST_BYTES = 64 * 2**20
"""Of labels in float32: larger ones are not logged with every run."""


def soft_label_files(point: Point, store: Store, /) -> dict[str, bytes]:
    """Return the file of the labels that a point's first lesson took, by its name; {} where it took none.

    Labels of a pool of augmented copies are none of the data's own, and are left out; larger ones than `MOST_BYTES`
    too, which is said in a line.
    """
    for step in point.chain.plain_steps:
        stage = step.stage
        if isinstance(stage, Distill) and stage.weight and not stage.is_neutral and not stage.pool:
            logits = _labels(step, stage, point, store)
            if logits is None:
                return {}
            if logits.numel() * logits.element_size() > MOST_BYTES:
                remark(f"{FILE} is not logged: the soft labels take more than {MOST_BYTES // 2**20} MiB a run")
                return {}
            return {FILE: pack_labels(logits, stage.taught_images(point.chain.loaded_data()).fingerprint)}
    return {}


def _labels(step: Step, stage: Distill, point: Point, store: Store) -> Tensor | None:
    """Return the labels that a step learned from, None where they are not at hand any more."""
    if stage.labels is not None:
        with suppress(ValueError, OSError):  # the file is gone, or was changed since
            return stage.given_logits()
        return None
    if step.teacher is None:
        return None
    data = stage.taught_images(point.chain.loaded_data())
    content = store.get(f"tensors/{label_name(step.teacher.key, data, side=step.teacher.side)}")
    with suppress(safetensors.SafetensorError, KeyError):
        return None if content is None else safetensors.torch.load(content)["tensor"]
    return None
