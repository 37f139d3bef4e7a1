"""The configuration of a run as a file that makes it again: all resolved, with what it needs of the user's own YAML.

The keys are those of the command line, as nested YAML; the axes stand at the top with the run's values. What is no key
stands under `effbench`: the names that were chosen, and the declarations and networks from the user's folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from effbench.checks.errors import first_line
from effbench.checks.secrets import HIDDEN, hide_by_names, hide_in_values, without_secrets

HEADER = "effbench"
"""The key of what is no key of the command line."""
NODES = (
    "task",
    "model",
    "data",
    "recipe",
    "train",
    "finetune",
    "stage",
    "engine",
    "saturation",
    "figure",
    "measure",
    "sweep",
    "store",
    "tracking",
)
"""The keys that hold keys."""
LATER = ("saturation", "figure")
"""Keys that configurations of earlier releases lack: they have the defaults."""
PLAIN = ("seed", "coder", "device", "tolerance", "dry_run", "phases")
"""The other keys that every configuration has."""
EMBEDDED = ("axis", "model")
"""Groups of which members that are not chosen count too: axes say where phases stand, and networks may teach."""


@dataclass(frozen=True)
class ResolvedFile:
    """The configuration of a run, or of a sweep, that was read from a file."""

    name: str
    """The file, as the user wrote it."""
    node: Mapping[str, Any]
    """Its keys, but for `effbench`."""
    header: Mapping[str, Any]
    folder: Path | None = None
    """Where it lies, if it is a file here."""

    @property
    def members(self) -> Mapping[str, Mapping[str, dict[str, Any]]]:
        """Members of configuration groups, which lay in the folders of whoever ran it."""
        found: Mapping[str, Mapping[str, dict[str, Any]]] = self.header.get("members", {})
        return found

    @property
    def command(self) -> str:
        """What ran it."""
        return str(self.header.get("command", "the command that it was made by"))


@dataclass(frozen=True, kw_only=True)
class Described:
    """What the points of one configuration have in common, as it is kept with them."""

    node: Mapping[str, Any]
    header: Mapping[str, Any] = field(default_factory=dict)

    def of_run(self, values: Mapping[str, Any], seed: int, /) -> dict[str, Any]:
        """Return the configuration of one run. values: of the sweep's axes."""
        return {**values, **self.node, "seed": seed, HEADER: dict(self.header)}


def described(
    node: Mapping[str, Any],
    /,
    *,
    chosen: Mapping[str, str],
    swept: Mapping[str, Any],
    members: Mapping[str, Mapping[str, Any]],
) -> Described:
    """Return what a resolved configuration is kept as; no secret is in it.

    members: those of the user's, by their groups. chosen: the member of each group. swept: other keys than axes.
    """
    header: dict[str, Any] = {"chosen": dict(chosen), "swept": dict(swept)}
    if any(members.values()):
        header["members"] = {group: dict(nodes) for group, nodes in members.items() if nodes}
    return Described(
        node=_without_secrets({key: value for key, value in node.items() if key not in ("engine", "engines")}),
        header=_without_secrets(header),
    )


def _without_secrets(node: Any) -> Any:
    return _with_texts(hide_in_values(hide_by_names(node)), without_secrets)


def _with_texts(node: Any, change: Any) -> Any:
    if isinstance(node, Mapping):
        return {name: _with_texts(value, change) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [_with_texts(value, change) for value in node]
    return change(node) if isinstance(node, str) else node


def find_resolved(folder: Path, name: str, shown: str, /) -> ResolvedFile | None:
    """Return the configuration of a run that lies in a folder under a name; None where it is another file, or none.

    shown: the file as the user would write it. ValueError, in one line, where it is damaged or lacks something.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None  # whoever reads it as another file says so
    if not re.search(rf"^{HEADER}:", text, re.MULTILINE):
        return None
    return replace(read_resolved(text, shown), folder=folder)


def read_resolved(text: str, shown: str, /) -> ResolvedFile:
    """Return the configuration that a text holds. ValueError, in one line that begins with `shown`, for another one."""
    try:
        read = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        reason = getattr(error, "problem", None) or first_line(error)
        raise ValueError(f"{shown}{where}: is no YAML: {reason}") from None
    if not isinstance(read, dict) or not isinstance(read.get(HEADER), dict):
        raise ValueError(
            f"{shown}: does not say how to make its run again: it was logged by an earlier effbench, or is another file"
        )
    header = read.pop(HEADER)
    several = [key for key, value in dict(header.get("swept") or {}).items() if isinstance(value, list)]
    if several:
        raise ValueError(
            f"{shown}: is of a sweep over {', '.join(several)}, of which each value has a configuration of its own; "
            f"give its command: {header.get('command')}"
        )
    _check(read, header, shown)
    read = {**{key: {} for key in LATER}, **read}
    return ResolvedFile(shown, _with_texts(read, _escaped), header)


def _check(node: Mapping[Any, Any], header: Mapping[Any, Any], shown: str) -> None:
    missing = [key for key in (*NODES, *PLAIN) if key not in node and key not in LATER]
    if missing:
        raise ValueError(
            f"{shown}: lacks {', '.join(missing)}; it was changed or cut, and is no configuration of a run"
        )
    nodes = {
        **{key: node[key] for key in NODES if key in node},
        **{f"engine.{name}": value for name, value in _items(node["engine"])},
    }
    nodes |= {f"stage.{name}": value for name, value in _items(node["stage"])}
    nodes |= {f"{HEADER}.{key}": header.get(key, {}) for key in ("chosen", "swept", "members")}
    nodes |= {f"{HEADER}.members.{group}": members for group, members in _items(header.get("members", {}))}
    for key, value in nodes.items():
        if not isinstance(value, dict):
            raise ValueError(f"{shown}: {key} must hold keys and values; the file was changed")
    chosen = header.get("chosen", {})
    for group in ("task", "model", "data"):
        if not isinstance(node[group].get("_target_"), str) or not isinstance(chosen.get(group), str):
            raise ValueError(
                f"{shown}: {group}._target_ and {HEADER}.chosen.{group} must be names; the file was changed"
            )


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    yield from node.items() if isinstance(node, dict) else ()


def _escaped(text: str) -> str:
    """Return a text of which OmegaConf makes the same text: it is resolved already."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text) if "${" in text else text


def hidden_keys(node: Mapping[str, Any], prefix: str = "", /) -> Iterator[str]:
    """Yield the keys whose values were secrets, and are left out."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from hidden_keys(value, f"{prefix}{name}.")
        elif HIDDEN in (value if isinstance(value, list) else str(value)):
            yield f"{prefix}{name}"
