"""Reading columns: numbers and flags, whatever dtype a CSV or a tracker gave them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ACCURACY = "accuracy"
"""The quality of a frame that names none, as a CSV of classifiers."""

METRIC = re.compile(
    r"loss$|size_|download_bytes|coding_gain$|macs|flops|params|latency_ms|throughput/|speedup|calibration_error"
    r"|(agreement|max_difference|int8_share|float_borders|converted_activations|verdict)/|subnormal_weights|flushed_speedup/|peak_memory_bytes|energy_(modelled_uj|mj/)"
    r"|train_(seconds|seconds_total|macs|memory_mb)$|teacher_(seconds|macs)$"
)
"""Metrics of every task; the quality's own columns are found by its name."""

_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def quality_names(frame: pd.DataFrame, /) -> list[str]:
    """Return the different names in the column `quality_name`, sorted; none where the frame doesn't have it.

    >>> quality_names(pd.DataFrame({"quality_name": ["miou", None, "miou"]})), quality_names(pd.DataFrame())
    (['miou'], [])
    """
    names = set(frame["quality_name"].dropna().astype(str)) if "quality_name" in frame.columns else set()
    return sorted(names - {""})


def metric_columns(frame: pd.DataFrame, /) -> list[str]:
    """Return the columns that were measured: costs, losses, and what has its name from a quality.

    Qualities are those of `quality_name` (else accuracy) and those listed in `frame.attrs["extra_qualities"]`.

    >>> metric_columns(pd.DataFrame(columns=["prune", "accuracy_val", "macs", "seed", "size_bytes"]))
    ['accuracy_val', 'macs', 'size_bytes']
    """
    qualities = (*(quality_names(frame) or [ACCURACY]), *frame.attrs.get("extra_qualities", ()))
    return [name for name in map(str, frame.columns) if METRIC.match(name) or belongs_to(name, qualities)]


def belongs_to(column: str, qualities: Iterable[str], /) -> bool:
    """Whether a column is one of the qualities, or has its name from one.

    >>> belongs_to("miou_val", ["miou"]), belongs_to("miouse", ["miou"])
    (True, False)
    """
    return any(column == quality or column.startswith((f"{quality}_", f"{quality}/")) for quality in qualities)


def parse_numbers(column: pd.Series) -> NDArray[np.float64] | None:
    """Return a column as floats (missing: NaN), or None where it holds anything that is not a number.

    Flags and dates are not numbers; digits in a text column are.

    >>> parse_numbers(pd.Series(["0.5", None, "2"], dtype=object))
    array([0.5, nan, 2. ])
    >>> parse_numbers(pd.Series(["early", "2"])) is None
    True
    """
    kind = column.dtype
    if pd.api.types.is_bool_dtype(kind) or pd.api.types.is_datetime64_any_dtype(kind):
        return None
    numbers = _coerced(column)
    if pd.api.types.is_numeric_dtype(kind):
        return numbers
    unreadable = np.isnan(numbers) & ~(column.isna() | (column.astype(str).str.strip() == "")).to_numpy()
    return None if unreadable.any() else numbers


def finite_numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a metric column as floats. ValueError names the column and the first row that holds no finite number."""
    numbers = _coerced(frame[name])
    for row in np.flatnonzero(~np.isfinite(numbers)):
        value = frame[name].iloc[row]
        raise ValueError(f"{name} is {value!s} in {row_name(frame, int(row))}: a finite number is needed; drop the row")
    return numbers


def read_flags(frame: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    """Return a column of flags (true/false as bool, number or text; missing is False). ValueError on anything else."""
    column = frame[name]
    flags = np.zeros(len(frame), dtype=bool)
    for row, (value, missing) in enumerate(zip(column, column.isna(), strict=True)):
        text = str(value).strip().lower()
        if missing or text == "":
            continue
        if text not in _FLAGS:
            raise ValueError(f"{name} is {value!r} in {row_name(frame, row)}: true or false is needed")
        flags[row] = _FLAGS[text]
    return flags


def row_name(frame: pd.DataFrame, row: int) -> str:
    """Name a row (counted from 0) as a user finds it: by its index label and, where there is one, its point."""
    index: Hashable = frame.index[row]
    return f"row {index}" + (f" ({frame['point'].iloc[row]})" if "point" in frame.columns else "")


def codes_of(column: pd.Series) -> NDArray[np.int64]:
    """Return one whole number per row: equal for equal values; ordered as numbers are, or else as text."""
    values = column if pd.api.types.is_numeric_dtype(column.dtype) else column.astype(str).astype(object)
    codes, _ = pd.factorize(values, sort=True)
    return np.asarray(codes, dtype=np.int64)


def _coerced(column: pd.Series) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(column, errors="coerce").astype("float64"), dtype=np.float64)
