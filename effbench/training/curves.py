"""Training curves: what each epoch of a training came to, as rows of plain values."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from effbench.analysis.curves.counts import QualityKind, quality_from_sums
from effbench.training.evaluation import Evaluation
from effbench.training.watch import EpochRecord

Row = dict[str, str | int | float | bool]
"""An epoch: `curve` (which curve it is a point of, as in "train"), `step` (as in "train/1"), `epoch` (counted from 1
through the whole run), `time` (seconds since 1970), then what was measured: see `measured`."""
CURVES = "curves"
"""The table of a run that has them."""
IDENTITY = ("curve", "step", "epoch", "time")
"""The columns that measure nothing."""


def measured(
    record: EpochRecord,
    /,
    *,
    kinds: Mapping[str, QualityKind],
    validate: Callable[[], Evaluation] | None,
    clock: Callable[[], float] = time.time,
) -> Row:
    """Return what an epoch came to.

    `loss` is the mean over the examples as they were trained on, `lr` the rate of the last step, and the task's
    qualities, under their names, those of the training batches as they went by: of a network that was still changing,
    in training mode, on augmented images. With `validate`, or where the training itself looked at validation, the same
    of the validation split after the epoch: `loss_val`, `<quality>_val`. kinds: how qualities follow from counts.
    """
    row: Row = {"time": clock(), "loss": record.loss, "lr": record.lr}
    row |= {name: float(quality_from_sums(sums.numpy(), kinds[name])) for name, sums in record.counts.items()}
    evaluation = record.validation
    if evaluation is None and validate is not None and math.isfinite(record.loss):
        evaluation = validate()
    if evaluation is not None:
        row["loss_val"] = evaluation.loss
        row |= {f"{name}_val": quality for name, quality in evaluation.qualities.items()}
    return row
