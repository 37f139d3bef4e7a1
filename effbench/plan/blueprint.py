"""A callable by its dotted name, with its options: how networks, data sets, stages and engines are named in a plan.

A blueprint is plain data: it can be hashed, logged, sent to another process and built there.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Blueprint:
    """`target` is "package.module.name"; `options` are its keyword arguments (values that JSON can hold)."""

    target: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def callable(self) -> Callable[..., Any]:
        """The object that the target names. ValueError where there is none."""
        module_name, _, name = self.target.rpartition(".")
        try:
            found = getattr(importlib.import_module(module_name), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"_target_={self.target}: can't be imported ({error})") from None
        if not callable(found):
            raise ValueError(f"_target_={self.target}: is not callable")
        return found  # type: ignore[no-any-return]

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
            allowed = ", ".join(sorted(self.parameters))
            raise ValueError(f"{self.target} takes no option {unknown[0]!r}; its options: {allowed}")
        taken = {name: value for name, value in offered.items() if name in self.parameters}
        return self.callable(**{**taken, **self.options})

    def identity(self) -> dict[str, Any]:
        """Return what tells this blueprint from another, as JSON-able data."""
        return {"target": self.target, "options": json.loads(json.dumps(dict(self.options), sort_keys=True))}

    def __hash__(self) -> int:
        """Hash by identity, so that built objects can be cached by their blueprint."""
        return hash(json.dumps(self.identity(), sort_keys=True))
