"""What a frame of runs is judged by: the five columns that say it, and which column holds its values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import pandas as pd

from effbench.analysis.curves.columns import ACCURACY, belongs_to, quality_names
from effbench.analysis.curves.counts import KINDS
from effbench.analysis.curves.counts import QualityKind as QualityKind

Direction = Literal["higher", "lower"]
DIRECTIONS: tuple[str, ...] = get_args(Direction)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A quality: its name, how it follows from counts, how its differences are said, and which way it is better.

    Every frame of runs has these as its columns quality_name, quality_kind, quality_unit, quality_direction and
    quality_chance, the same in all rows; its values are in `<name>` (on the test split) and in `<name>_val` (on the
    validation split, on which points are chosen). ValueError where the kind or the direction is none that exists.
    """

    name: str
    kind: QualityKind
    unit: str
    """Of differences, as in "points"; may be empty."""
    direction: Direction
    """Which values are better."""
    chance: float = math.nan
    """The quality of a network that has learned nothing; NaN where it is not known."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"quality_kind={self.kind!r}: {', '.join(KINDS)} are the kinds of quality")
        if self.direction not in DIRECTIONS:
            raise ValueError(f"quality_direction={self.direction!r}: {' or '.join(DIRECTIONS)} is needed")

    @property
    def column(self) -> str:
        """The column on which points are chosen: that of its values on the validation split."""
        return f"{self.name}_val"

    @property
    def is_fraction(self) -> bool:
        """Whether values are shares of one, so that differences are said in hundredths."""
        return self.kind != "exp_of_ratio"

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, /) -> Quality:
        """Return what the runs of a frame are judged by; a frame without `quality_name` holds accuracies.

        ValueError where rows have different qualities, or where quality_kind or quality_direction is missing.

        >>> Quality.of_frame(pd.DataFrame({"accuracy_val": [0.9]}))
        Quality(name='accuracy', kind='ratio', unit='points', direction='higher', chance=nan)
        """
        names = quality_names(frame)
        if len(names) > 1:
            raise ValueError(f"the frame mixes the qualities {', '.join(names)}: select the runs of one")
        if not names:
            return cls(name=ACCURACY, kind="ratio", unit="points", direction="higher")
        return cls(
            name=names[0],
            kind=cast(QualityKind, _same_in_all_rows(frame, "quality_kind")),
            unit=_same_in_all_rows(frame, "quality_unit", missing=""),
            direction=cast(Direction, _same_in_all_rows(frame, "quality_direction")),
            chance=_chance(frame),
        )


def chosen_quality(frame: pd.DataFrame, column: str | None, /) -> tuple[Quality | None, str]:
    """Return the quality that a column holds, and the column; for None those of the frame's quality on validation.

    A column of anything else has none: it is taken as plain numbers, higher ones better. ValueError where the column
    is missing or is better when lower, or where the frame mixes qualities.
    """
    quality = Quality.of_frame(frame)
    name = quality.column if column is None else column
    if name not in frame.columns:
        raise ValueError(f"no quality column {name!r}; the frame has {sorted(map(str, frame.columns))}")
    if name in (quality.name, quality.column):
        return quality, name
    if name.startswith(("loss", "calibration_error")):
        raise ValueError(f"quality={name!r} is better when lower: a quality that is better when higher is needed")
    return None, name


def secondary_columns(frame: pd.DataFrame, quality: Quality, /) -> dict[str, str]:
    """Return the columns that say more about the quality on the test split, and what each is called; in this order.

    These are `<name>_top5`, `<name>_worst_class` and `calibration_error`, then the columns that have their names from
    those in `frame.attrs["extra_qualities"]`; those of the validation split, of engines and deviations are left out.

    >>> frame = pd.DataFrame(columns=["accuracy", "accuracy_val", "calibration_error", "accuracy_worst_class"])
    >>> secondary_columns(frame, Quality.of_frame(frame))
    {'accuracy_worst_class': 'worst class', 'calibration_error': 'calibration error'}
    """
    titles = {
        f"{quality.name}_top5": f"top-5 {spaced(quality.name)}",
        f"{quality.name}_worst_class": "worst class",
        "calibration_error": "calibration error",
    }
    columns = [str(name) for name in frame.columns if not str(name).endswith(("_val", "_std")) and "/" not in str(name)]
    for extra in frame.attrs.get("extra_qualities", ()):
        titles |= {name: spaced(name) for name in columns if belongs_to(name, [extra]) and name not in titles}
    return {name: title for name, title in titles.items() if name in columns}


def spaced(name: str, /) -> str:
    """Return a name as sentences write it: with spaces.

    >>> spaced("boundary_iou")
    'boundary iou'
    """
    return name.replace("_", " ")


def _same_in_all_rows(frame: pd.DataFrame, name: str, *, missing: str | None = None) -> str:
    """Return the text that all rows have in a column; `missing` where none has any, as a CSV writes an empty text."""
    values = [] if name not in frame.columns else sorted(set(frame[name].dropna().astype(str)))
    if len(values) > 1:
        raise ValueError(f"the frame mixes the values {', '.join(values)} of {name}: select the runs of one")
    if not values and missing is None:
        raise ValueError(f"the frame has quality_name and no {name}: the two belong together")
    return values[0] if values else str(missing)


def _chance(frame: pd.DataFrame) -> float:
    """Return the mean chance of the runs: it may differ between splits."""
    if "quality_chance" not in frame.columns:
        return math.nan
    values = np.asarray(pd.to_numeric(frame["quality_chance"], errors="coerce").dropna(), dtype=np.float64)
    # From the smallest on, so that the mean of equal values is that value exactly.
    return float(values.min() + (values - values.min()).mean()) if len(values) else math.nan
