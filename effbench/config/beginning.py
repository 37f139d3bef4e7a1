"""The files that something of the user's own begins with: `effbench new`."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

from effbench.config.axis_checks import reserved_names
from effbench.config.members import declared_axes, members
from effbench.config.typed import unknown_name

TEMPLATES = Path(__file__).parent / "beginnings"
KINDS: Mapping[str, str] = {
    "stage": "a technique, with its axis",
    "model": "a network, with an axis for its width",
    "data": "a data set",
    "task": "what networks are for, and how good they are at it",
    "engine": "what latency is measured on",
    "recipe": "the order of what is done to a network",
}
_COMMANDS = {
    "stage": "+$name=0.5,1,1.5",
    "model": "model=$name +${name}_width=4,8",
    "data": "data=$name +prune=0.5,0.9",
    "task": "task=$name +prune=0.5,0.9",
    "engine": "engine=eager,$name +prune_channels=0.25,0.5",
    "recipe": "recipe=$name +prune=0.5,0.9 +bits=4",
}
"""What is swept to try each out."""
_AXES = {"stage": "$name", "model": "${name}_width"}
"""The axes that come along."""


def files_of(kind: str, name: str, folder: Path, /) -> dict[Path, str]:
    """Return the files that a thing of some kind begins with, by their paths, relative to the working folder.

    ValueError for a kind that there is not, and for a name that it can't have.
    """
    if kind not in KINDS:
        raise ValueError(unknown_name(kind, KINDS, "kind"))
    _check_name(kind, name)
    words = {"name": name, "Name": _class_name(kind, name), "folder": str(folder)}
    places = {"py": Path(f"{name}.py"), "yaml": folder / kind / f"{name}.yaml"}
    if kind in _AXES:
        places["axis.yaml"] = folder / "axis" / f"{Template(_AXES[kind]).substitute(words)}.yaml"
    found = {end: TEMPLATES / f"{kind}.{end}.txt" for end in places}
    return {
        places[end]: Template(path.read_text(encoding="utf-8")).substitute(words)
        for end, path in found.items()
        if path.is_file()
    }


def command_of(kind: str, name: str, folder: Path, /) -> str:
    """Return the command that tries it out."""
    return f"effbench sweep --config-dir {shlex.quote(str(folder))} {Template(_COMMANDS[kind]).substitute(name=name)}"


def _check_name(kind: str, name: str) -> None:
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name.startswith("_"):
        raise ValueError(f"{name}: must be a name in Python, of letters, digits and _, as in my_{kind}")
    if name in members(kind):
        raise ValueError(f"{name}: is what effbench calls {_a(kind)} of its own; choose another name")
    if kind in _AXES:
        axis = Template(_AXES[kind]).substitute(name=name)
        if axis in declared_axes() or axis in reserved_names():
            raise ValueError(f"{name}: its axis would be {axis}, which effbench has already; choose another name")
    if kind == "recipe":
        return
    if name in _bound(kind):
        raise ValueError(f"{name}: stands for something else in the file that would be written; choose another name")
    here = [str(Path.cwd()), ""]
    sys_path, sys.path = sys.path, [place for place in sys.path if place not in here]
    try:
        is_found = importlib.util.find_spec(name) is not None or Path(name, "__init__.py").is_file()
    finally:
        sys.path = sys_path
    if is_found or name in sys.stdlib_module_names:
        raise ValueError(f"{name}: is a module that Python finds already; choose another name")


def _class_name(kind: str, name: str) -> str:
    """Return a class's name, as in MyStage for my_stage; another one than those that its file uses."""
    name = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    return f"{name}{kind.capitalize()}" if name in _bound(kind) else name


def _bound(kind: str) -> set[str]:
    """Return the names that stand for something in a kind's file: what it imports and defines."""
    path = TEMPLATES / f"{kind}.py.txt"
    if not path.is_file():
        return set()
    text = path.read_text(encoding="utf-8")
    imported = re.findall(r"^(?:from \S+ )?import (.+)$", text, flags=re.MULTILINE)
    names = {name.rpartition(" as ")[2].strip() for line in imported for name in line.split(",")}
    defined = re.findall(r"^(?:def |class )?([A-Za-z_]\w*)(?: = |\()", text, flags=re.MULTILINE)
    return {*names, *defined}


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
