"""A callable by its dotted name, with its options: how networks, data sets, tasks and engines are named in a plan.

A blueprint is plain data: it can be hashed, logged, sent to another process and built there.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from effbench.checks.stamps import stamp_of
from effbench.plan.given import given_object, is_given, name_of
from effbench.plan.source_code import is_own, source_identity
from effbench.plan.targets import find_target

BESIDE_OPTIONS = ("_target_", "epochs", "tasks", "least_side")
"""Keys of a configuration's node that are no options of its target: what it is, how long to train on it, for what, and
the smallest images that it takes."""
OFFERED = ("num_classes", "in_channels", "input_side")
"""Arguments that a network is offered where it is built: an option of that name replaces what was offered, also where
its value is the default's."""


@dataclass(frozen=True)
class Blueprint:
    """`target` is "package.module.name"; `options` are its keyword arguments (values that JSON can hold)."""

    target: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_node(cls, node: Mapping[str, Any], /, *, leave_out: Collection[str] = BESIDE_OPTIONS) -> Blueprint:
        """Return the blueprint that a configuration's node with a `_target_` describes."""
        return cls(node["_target_"], {name: value for name, value in node.items() if name not in leave_out})

    @property
    def name(self) -> str:
        """The last part of the target's name: that of the class or function itself."""
        return name_of(self.target)

    @cached_property
    def callable(self) -> Callable[..., Any]:
        """The object that the target names. ValueError where there is none."""
        return find_target(self.target)

    @cached_property
    def parameters(self) -> frozenset[str]:
        """The names of the keyword arguments that the callable takes (`**kwargs` excluded: they say nothing)."""
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return frozenset(p.name for p in inspect.signature(self.callable).parameters.values() if p.kind in kinds)

    @cached_property
    def takes_anything(self) -> bool:
        """Whether the callable has `**kwargs`."""
        parameters = inspect.signature(self.callable).parameters.values()
        return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)

    def with_options(self, **options: Any) -> Blueprint:
        """Return the blueprint with `options` added or replaced."""
        return Blueprint(self.target, {**self.options, **options})

    def build(self, **offered: Any) -> Any:
        """Call the target with its options and with those of the `offered` arguments that it takes.

        ValueError names an option that the target does not take.
        """
        unknown = sorted(set(self.options) - self.parameters)
        if unknown and not self.takes_anything:
            allowed = ", ".join(sorted(self.parameters)) or "none"
            raise ValueError(f"{self.target} takes no option {unknown[0]!r}; its options: {allowed}")
        taken = {name: value for name, value in offered.items() if name in self.parameters}
        return self.callable(**{**taken, **self.options})

    def identity(self) -> dict[str, Any]:
        """Return what tells what is built from another, as JSON-able data: never a module's path within effbench.

        Of effbench's own: the name, its file's VERSION, and the options that differ from the defaults. Of a user's: its
        sources (`source_code`) and all options. Of an object that a program gives: its content. Files that options name
        count with their content: weights that were written anew make another network.
        """
        options = json.loads(json.dumps(dict(self.options), sort_keys=True))
        files = {
            name: content_of(value) for name, value in options.items() if isinstance(value, str) and _is_file(value)
        }
        more = {"files": files} if files else {}
        if is_given(self.target):
            return {**given_object(self.target).identity(), "options": options, **more}
        if not is_own(self.callable):
            return {**source_identity(self.callable, named=self.target), "options": options, **more}
        defaults = {name: p.default for name, p in inspect.signature(self.callable).parameters.items()}
        changed = {n: value for n, value in options.items() if n in OFFERED or not _is_equal(value, defaults.get(n))}
        unwrapped = inspect.unwrap(self.callable)
        number = getattr(unwrapped, "VERSION", getattr(sys.modules[unwrapped.__module__], "VERSION", 1))
        return {"name": unwrapped.__qualname__, "version": number, "options": changed, **more}

    def __getstate__(self) -> dict[str, Any]:
        """Go to another process without the callable, which is found there by its name: it may be a lambda."""
        return {"target": self.target, "options": self.options}

    def __hash__(self) -> int:
        """Hash by target and options, so that built objects can be cached by their blueprint."""
        return hash((self.target, json.dumps(dict(self.options), sort_keys=True)))


def _is_equal(value: Any, default: Any) -> bool:
    """Whether an option has its default's value: a list in a configuration may be a tuple in the code."""
    if isinstance(default, tuple | list) and isinstance(value, list):
        return list(default) == value
    return value == default and isinstance(value, bool) == isinstance(default, bool)


def is_absolute(value: Any, /) -> bool:
    """Whether an option is an absolute path: where something lies on a machine decides no result."""
    return isinstance(value, str) and Path(value).is_absolute()


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except OSError:  # a text too long for a path
        return False


def content_of(path: str, /) -> str | None:
    """Return a digest of a file's content, read once as long as it is not written; None where there is no file."""
    if not _is_file(path):
        return None
    return _digest(path, *stamp_of(path))


@lru_cache(maxsize=64)
def _digest(path: str, *_stamp: int) -> str:
    """Return a digest of a file; read once, as long as it is not written."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
