"""Which runs are compared with each other: those of one network, data set and task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from effbench.analysis.curves.columns import read_flags
from effbench.analysis.curves.labels import group_parts

GROUP_KEYS = ("model", "data", "task")


def group_columns(names: Iterable[str], /) -> list[str]:
    """Return those of some columns that tell groups apart: of network, data set and task, and of their options.

    >>> group_columns(["prune", "model", "data.n_train", "model_size"])
    ['model', 'data.n_train']
    """
    return [name for name in names if name.partition(".")[0] in GROUP_KEYS]


def split_groups(frame: pd.DataFrame, /) -> dict[str, pd.DataFrame]:
    """Split runs into groups of one network, data set and task, each with a reference of its own; by name.

    A group's name says by what it differs from the others, as in "model=lenet_5"; that of a single group is empty.
    Where no axis was swept, so that no run has another one as its reference, networks are compared with each other: the
    groups are then of one data set and task.

    >>> runs = pd.DataFrame(
    ...     {"point": ["reference", "prune=0.5"] * 2, "reference": [True, False] * 2, "model": ["a", "a", "b", "b"]})
    >>> {name: len(group) for name, group in split_groups(runs).items()}
    {'model=a': 2, 'model=b': 2}
    >>> list(split_groups(runs[runs["reference"]]))
    ['']
    """
    keys = _group_columns(frame)
    if not has_axis(frame):
        keys = keys[[name for name in keys.columns if not name.startswith("model")]]
    if keys.columns.empty:
        return {"": frame}
    names = keys.apply(lambda row: ", ".join(f"{key}={row[key]}" for key in keys.columns), axis=1)
    return {name: frame[names == name] for name in sorted(set(names))}


def _group_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what tells groups apart, of each row: its model, data and task, and what its label says beside of these.

    A label does where an option was swept, as in "model._target_=nets.small, prune=0.5".
    """
    found = {key: frame[key].astype(str) for key in GROUP_KEYS if key in frame.columns}
    if "point" in frame.columns:
        parts = [group_parts(str(label)) for label in frame["point"]]
        for key in dict.fromkeys(key for own in parts for key in own if key not in GROUP_KEYS):
            found[key] = pd.Series([own.get(key, "") for own in parts], index=frame.index)
    return pd.DataFrame(
        {key: values for key, values in found.items() if values.nunique(dropna=False) > 1}, index=frame.index
    )


def select_group(frame: pd.DataFrame, /, *, model: str | None = None) -> pd.DataFrame:
    """Return the runs that are compared: those of `model`, or all where they are one group. ValueError if not one."""
    if model is not None:
        known = sorted(set(frame["model"].astype(str))) if "model" in frame.columns else []
        if model not in known:
            raise ValueError(f"model={model!r}: the frame has {', '.join(known) or 'no column model'}")
        frame = frame[frame["model"].astype(str) == model]
    groups = split_groups(frame)
    if len(groups) > 1:
        by_model = all(name.startswith("model=") and ", " not in name for name in groups)
        how = "choose with model=, or select the rows of one" if by_model else "select the rows of one"
        raise ValueError(f"{len(groups)} groups, each with its own reference ({'; '.join(groups)}): {how}")
    return next(iter(groups.values()))


def has_axis(frame: pd.DataFrame, /) -> bool:
    """Whether an axis was swept: the frame says so (`attrs`), or some run is not the reference of itself.

    A frame that knows of no references has an axis where a network has several points.
    """
    if frame.attrs.get("axes") or frame.attrs.get("moves"):
        return True
    marked = marked_references(frame)
    keys = reference_keys(frame)
    if marked.any():
        return not marked.all()
    if keys is not None:
        return any(key is not None for key in keys)
    if "reference_key" in frame.columns and (frame["reference_key"].isna() | (frame["reference_key"] == "")).all():
        return False  # these runs are compared with no reference
    columns = [name for name in ("point", *GROUP_KEYS) if name in frame.columns]
    if "model" not in columns:
        return True
    models = frame[columns].astype(str).drop_duplicates() if "point" in columns else frame
    return bool(models["model"].duplicated().any())


def marked_references(frame: pd.DataFrame, /) -> NDArray[np.bool_]:
    """Return which rows are called a reference: (n_rows,), by flag, else by being their own, else by their label."""
    flags = np.zeros(len(frame), dtype=bool)
    if "reference" in frame.columns:
        flags = read_flags(frame, "reference")
    if not flags.any() and {"reference_key", "run_key"} <= set(frame.columns):
        flags = (frame["reference_key"] == frame["run_key"]).to_numpy(dtype=bool)
    if not flags.any() and "point" in frame.columns:
        flags = frame["point"].astype(str).str.fullmatch(r"(.*, )?reference").to_numpy(dtype=bool)
    return flags


def reference_keys(frame: pd.DataFrame, /) -> list[str | None] | None:
    """Return the key of each row's reference, None where it has none; None in all where the frame does not know them.

    A frame knows them where it has run_key and reference_key, and not all of these are empty.
    """
    if not {"reference_key", "run_key"} <= set(frame.columns):
        return None
    keys = [None if pd.isna(key) or str(key) == "" else str(key) for key in frame["reference_key"]]
    return keys if any(keys) else None


def failed_seeds(frame: pd.DataFrame, /, *, controls: bool = False) -> Mapping[str, frozenset[str]]:
    """Return the seeds of failed runs by the label of their point, from `frame.attrs["failed"]`.

    That holds a mapping for each failed run: its "point" and "seed", and where they are known its "model", "data" and
    "task": runs of other groups than the frame's are left out. controls: those whose "control" is true, else the rest.
    """
    there = {key: set(frame[key].astype(str)) for key in GROUP_KEYS if key in frame.columns}
    failed: dict[str, set[str]] = {}
    for run in frame.attrs.get("failed", ()):
        is_ours = all(str(run[key]) in values for key, values in there.items() if key in run)
        if is_ours and bool(run.get("control", False)) == controls:
            failed.setdefault(str(run["point"]), set()).add(seed_name(run["seed"]))
    return {label: frozenset(seeds) for label, seeds in failed.items()}


def seed_name(seed: object, /) -> str:
    """Return a seed as text, the same for 1, 1.0 and "1"."""
    text = str(seed)
    return text.removesuffix(".0")
