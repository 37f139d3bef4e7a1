"""Keywords of Python as the arguments of a command line: `prune=[0.1, 0.9]` as "prune=0.1,0.9"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from effbench.config.keys import GROUPS, LISTS_WITHIN
from effbench.config.members import declared_axes, members
from effbench.config.search_path import conf_folder

_WORD = re.compile(r"[A-Za-z_][\w./:+-]*")
_NO_TEXT = ("true", "false", "null", "nan", "inf")
"""What Hydra's grammar reads as something else than text."""
NODES = (
    "train",
    "finetune",
    "measure",
    "saturation",
    "figure",
    "sweep",
    "store",
    "tracking",
    "recipe",
    "stage",
    "engine",
    "model",
    "data",
    "task",
    "hydra",
)
"""Keywords that take a mapping of keys, as train={"epochs": 3} for train.epochs=3."""
_ONLY_NODES = ("finetune", "measure", "saturation", "figure", "sweep", "store", "stage", "hydra")
"""Those of them that have no name that chooses one, as train="sgd_cosine" does."""
_TARGET = "_target_"
_ENDS = ("layers", "price")
"""Keys whose value is a mapping itself."""


def arguments_of(keywords: Mapping[str, Any], /) -> list[str]:
    """Return what a command line would say.

    A list is several values, one run each, where the key holds a single one; else it is the value: channels=[8, 16].
    A mapping holds keys of a node; a dot in a key may be written as __, as scikit-learn does. ValueError for what is no
    value of a key.

    >>> arguments_of({"prune": [0.1, 0.9], "seed": range(2), "train": {"epochs": 3}, "measure__seconds": 0.1})
    ['prune=0.1,0.9', 'seed=0,1', 'train.epochs=3', 'measure.seconds=0.1']
    """
    lines = {}
    for key, value in _leaves({key.replace("__", "."): value for key, value in keywords.items()}):
        if key in lines:
            raise ValueError(f"{key}: is given twice")
        lines[key] = f"{key}={_written(key, value)}"
    return list(lines.values())


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if not isinstance(name, str) or not name:
            raise ValueError(f"{prefix}{name!r}: must be the name of a key")
        if not prefix and name in _ONLY_NODES and not isinstance(value, Mapping):
            raise ValueError(
                f"{name}={brief(value)}: is a group of keys; give a mapping of them, as in {name}={{…: …}}"
            )
        if not prefix and value is None and "." not in name:
            raise ValueError(f"{name}=None: must be given a value, or left out")
        is_node = prefix or name.partition(".")[0] in NODES
        if isinstance(value, Mapping) and is_node and not _is_value(key, value):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _is_value(key: str, value: Mapping[str, Any]) -> bool:
    """Whether a mapping is what a key holds, and not itself keys: one that says what to call is, within a node."""
    return key.rpartition(".")[2] in _ENDS or ("." in key and _TARGET in value)


def _written(key: str, value: Any) -> str:
    """Return a value as it stands behind the equals sign, or several."""
    plain = _plain(key, value)
    if isinstance(plain, list) and _holds_one(key, plain):
        if not plain:
            raise ValueError(f"{key}=[]: give at least one value")
        return ",".join(_literal(key, part) for part in plain)
    return _literal(key, plain)


def _holds_one(key: str, values: Sequence[Any]) -> bool:
    """Whether a list given to a key is several of its values, and not itself one."""
    if key in (*declared_axes(), "seed", "engine", *GROUPS, *LISTS_WITHIN):
        return True
    default = _default(key)
    if isinstance(default, list) or default is _UNKNOWN:
        return bool(values) and all(isinstance(value, list) for value in values)
    return True


_UNKNOWN = object()
"""The default of a key that no file of conf names."""


def _default(key: str) -> Any:
    """Return what conf has under a key: in one of a group's members, in a stage or an engine, or in its main file."""
    group, _, rest = key.partition(".")
    if group in ("stage", "engine"):
        name, _, rest = rest.partition(".")
        return _at(members(group).get(name, {}), rest)
    if group in GROUPS:
        found = [_at(node, rest) for node in members(group).values()]
        return next((value for value in found if value is not _UNKNOWN), _UNKNOWN)
    return _at(_main(), key)


@lru_cache(maxsize=1)
def _main() -> Any:
    return yaml.safe_load((conf_folder() / "config.yaml").read_text(encoding="utf-8"))


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return _UNKNOWN
        node = node[part]
    return node


def _plain(key: str, value: Any) -> Any:
    """Return a value made of Python's own: numpy's and torch's numbers, ranges, paths and tuples become those."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        if getattr(value, "ndim", 0) > 1:
            raise ValueError(f"{key}: is {brief(value)} of {value.ndim} dimensions; give a number, or a list of them")
        return _plain(key, value.tolist())
    if isinstance(value, Mapping):
        return {str(name): _plain(key, part) for name, part in value.items()}
    if isinstance(value, list | tuple | range | set | frozenset):
        parts = sorted(value) if isinstance(value, set | frozenset) else value
        return [_plain(key, part) for part in parts]
    raise ValueError(f"{key}={brief(value)}: must be a number, a text, None, or a list or mapping of such")


def brief(value: object, /) -> str:
    """Return a value as a message may show it: in a few characters, or by its class."""
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"


def _literal(key: str, value: Any) -> str:
    """Return a value in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(_literal(key, part) for part in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_name(name)}:{_literal(key, part)}' for name, part in value.items())}}}"
    if isinstance(value, str):
        return _quoted(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _name(text: str) -> str:
    """Return the name of an entry of a mapping, where Hydra knows no quotes. ValueError beyond ASCII.

    What would be read as a number (1.10, a layer within a layer), or as true or null, is a text by a blank behind it,
    which is no part of a name.
    """
    if not text.isascii():
        raise ValueError(f"{text!r}: must be ASCII, as a name in a mapping; ? stands for any letter of a layer's name")
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", text) + ("\\ " if _is_no_text(text) else "")


def _is_no_text(text: str) -> bool:
    """Whether Hydra reads a name as something that is written otherwise: 1.10 is 1.1, while 3 comes back from 3."""
    try:
        float(text)
    except ValueError:
        return text.lower() in _NO_TEXT
    return not (text.isdecimal() and str(int(text)) == text)


def _quoted(text: str) -> str:
    if _WORD.fullmatch(text) and text.lower() not in _NO_TEXT:
        return text
    end = len(text) - len(text.rstrip("\\"))  # Hydra takes back a \\ as one only before a quote
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", text) + "\\" * end + "'"
