"""Columns of tables of runs from the runs' configurations: artifacts, which are read only for what is asked for.

A configuration is YAML in blocks, of which only the section that holds a key is parsed, and equal sections once: the
runs of a sweep differ in few of them.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import pandas as pd
import yaml

from effbench.tracking.frame import numeric
from effbench.tracking.logged import MISSING
from effbench.tracking.names import CONFIG_FILE

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
log = logging.getLogger(__name__)


class Files(Protocol):
    """Where the files of runs are read from."""

    def texts(self, runs: Sequence[str], name: str, /) -> list[str | None]:
        """Return a file of each of the runs, by their ids; None where it can't be read."""


def with_columns(frame: pd.DataFrame, columns: Sequence[str], files: Files, /) -> pd.DataFrame:
    """Return a table of runs with columns of their configurations, by dotted keys, as the command has them.

    A key that holds others brings a column for each of these. What a run has logged under the name stays. ValueError
    for a key that no run has, with the nearest that there are.
    """
    wanted = [name for name in dict.fromkeys(columns) if name not in frame or bool(frame[name].isna().any())]
    if not wanted or not len(frame):
        return frame
    lacking = pd.concat([frame[name].isna() if name in frame else _all(frame) for name in wanted], axis=1).any(axis=1)
    runs = frame.loc[lacking, "run_id"].tolist()
    texts = files.texts(runs, CONFIG_FILE)
    new: dict[str, dict[str, str]] = {}
    for name in wanted:
        for run, text in zip(runs, texts, strict=True):
            for key, value in leaves(name, value_at(text, name)) if text is not None else ():
                new.setdefault(key, {})[run] = value
        if name not in frame and not any(key == name or key.startswith(f"{name}.") for key in new):
            raise ValueError(_why_unknown(name, frame, texts))
    _say_unread(texts)
    return _filled(frame, new)


def _all(frame: pd.DataFrame) -> pd.Series:
    return pd.Series(True, index=frame.index)


def _filled(frame: pd.DataFrame, new: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Return the table with texts by column and run, where it has nothing in their places."""
    made = {}
    for name, by_run in new.items():
        found = frame["run_id"].map(by_run).astype(object)
        whole = frame[name].astype(object).where(frame[name].notna(), found) if name in frame else found
        made[name] = numeric(pd.Series(whole.where(whole.notna(), MISSING).tolist(), index=frame.index, name=name))
    kept = frame.assign(**{name: column for name, column in made.items() if name in frame})
    others = [column for name, column in made.items() if name not in frame]
    filled = pd.concat([kept, *others], axis=1)
    filled.attrs = frame.attrs
    return filled


def leaves(name: str, node: Any, /) -> Iterator[tuple[str, str]]:
    """Yield what a key holds, as the texts that params would be; nothing for a key that is not there.

    >>> list(leaves("train", {"epochs": 3, "ema": {"decay": None}}))
    [('train.epochs', '3'), ('train.ema.decay', 'None')]
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(f"{name}.{key}", value)
    elif node is not ABSENT:
        yield name, str(node)


ABSENT = object()
"""What `value_at` returns of a key that is not there."""


def value_at(text: str, name: str, /) -> Any:
    r"""Return what a configuration has under a dotted key; ABSENT where there is no such key.

    >>> value_at("prune: 0.5\ntrain:\n  epochs: 3\n  lr: 0.1\n", "train.epochs")
    3
    """
    first = name.partition(".")[0]
    return _descend(_section(text, first), name)


def _section(text: str, key: str) -> Any:
    """Return the part of a configuration that a key of the first level begins, as a mapping of that one key."""
    if text.lstrip().startswith("{"):
        return _parsed(text)
    found = _pattern(key).search(text if text.endswith("\n") else f"{text}\n")
    if found is None:
        return {}
    try:
        return _parsed(found[0])
    except yaml.YAMLError:  # it refers to another section
        return _parsed(text)


@lru_cache(maxsize=256)
def _pattern(key: str) -> re.Pattern[str]:
    name = re.escape(key)
    return re.compile(rf"^(?:{name}|'{name}'|\"{name}\"):(?=\s)[^\n]*\n(?:(?:[ \t#-][^\n]*)?\n)*", re.MULTILINE)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Any:
    loader = _LOADER(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _descend(node: Any, name: str) -> Any:
    """Return what lies at a dotted name below a node; keys may hold dots themselves, as patterns of layers do."""
    if not isinstance(node, Mapping):
        return ABSENT
    for key, value in node.items():
        if str(key) == name:
            return value
        if name.startswith(f"{key}."):
            found = _descend(value, name.removeprefix(f"{key}."))
            if found is not ABSENT:
                return found
    return ABSENT


def _why_unknown(name: str, frame: pd.DataFrame, texts: Sequence[str | None]) -> str:
    text = next((text for text in texts if text is not None), None)
    if text is None:
        return f"columns={name}: {CONFIG_FILE} can't be read of any of the {len(texts)} runs, which would hold it"
    try:
        known = [key for first, node in dict(_parsed(text)).items() for key, _ in leaves(str(first), node)]
    except (yaml.YAMLError, TypeError, ValueError):
        known = []
    near = difflib.get_close_matches(name, [*map(str, frame.columns), *known], n=3, cutoff=0.5)
    last = [key for key in known if key.rpartition(".")[2] == name.rpartition(".")[2]]
    nearest = ", ".join(dict.fromkeys([*near, *last[:3]])) or "of none of a similar name"
    return f"columns={name}: no run has a key of that name; the nearest are {nearest}"


def _say_unread(texts: Sequence[str | None]) -> None:
    n_unread = sum(text is None for text in texts)
    if n_unread:
        log.warning(
            "columns: %s of %d of %d runs can't be read: nothing stands there", CONFIG_FILE, n_unread, len(texts)
        )
