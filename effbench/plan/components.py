"""What training takes from elsewhere by its dotted name: an optimiser, a scheduler, a loss, a transform of images."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import torch

from effbench.checks.fields import shown
from effbench.plan.source_code import source_identity
from effbench.plan.targets import find_target

_TARGET = "_target_"
_OF_HYDRA = ("_partial_", "_args_", "_recursive_", "_convert_")
_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class TargetComponent:
    """A class or function with its keyword arguments, which may be components themselves, alone and in lists.

    It is plain data until it is built. See `effbench.training.options.Component`.
    """

    target: str
    options: Mapping[str, Any]

    @classmethod
    def read(cls, node: Any, /) -> TargetComponent:
        """Return what a node with a `_target_` stands for, or a dotted name alone. ValueError for anything else."""
        if isinstance(node, TargetComponent):
            return node
        if isinstance(node, str):
            node = {_TARGET: node}
        if not isinstance(node, Mapping):
            raise ValueError(f"={shown(node)}: must be a dotted name, or a mapping with a {_TARGET} and its options")
        if _TARGET not in node:
            raise ValueError(f".{_TARGET}: must be given, the dotted name of a class, beside its options")
        for name in _OF_HYDRA:
            if name in node:
                raise ValueError(f".{name}: there is no such key; a {_TARGET} is called with the options beside it")
        try:
            find_target(node[_TARGET])
            options = {str(name): _read_option(value) for name, value in node.items() if name != _TARGET}
        except ValueError as error:
            message = str(error)
            raise ValueError(message if message[:1] in ".=" else f".{message}") from None
        return cls(node[_TARGET], options)

    @cached_property
    def callable(self) -> Callable[..., Any]:
        """The class or function."""
        return find_target(self.target)

    @cached_property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        try:
            return dict(inspect.signature(self.callable).parameters)
        except (TypeError, ValueError):
            return {}

    @property
    def _takes_anything(self) -> bool:
        return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in self._parameters.values()) or not self._parameters

    def takes(self, name: str, /) -> bool:
        """Whether it has an argument of that name."""
        return name in self._parameters and self._parameters[name].kind in _KINDS

    def build(self, subject: tuple[str, Any] | None = None, /, *, within: bool = False, **offered: Any) -> Any:
        """Call it with its options, and with those `offered` that it takes and has no option for.

        subject: what it is made for (the parameters, the optimiser) and how that argument is called in torch; the first
        argument, where it has none of that name. Components among the options get it, too, and with `within` also what
        is offered. Of that such arguments are given as have no default, or None. ValueError names an option that it
        does not take, or that is missing.
        """
        known = {name for name, p in self._parameters.items() if p.kind in _KINDS}
        unknown = sorted(set(self.options) - known)
        if unknown and not self._takes_anything:
            own = ", ".join(sorted(known - ({subject[0]} if subject else set())))
            raise ValueError(f"takes no option {unknown[0]!r}; its options: {own or 'none'}")
        to_parts = offered if within else {}
        given = {name: self._built(name, value, subject, to_parts) for name, value in self.options.items()}
        for name, value in offered.items():
            if self.takes(name) and name not in given and self._parameters[name].default in (inspect._empty, None):
                given[name] = value
        first = []
        if subject is not None and subject[0] in known:
            given.setdefault(*subject)
        elif subject is not None:
            first = [subject[1]]
        self._check_complete(given, n_first=len(first))
        return self.callable(*first, **given)

    def _check_complete(self, given: Mapping[str, Any], *, n_first: int) -> None:
        wanted = [name for name, p in self._parameters.items() if p.kind in _KINDS and p.default is inspect._empty]
        missing = [name for name in wanted[n_first:] if name not in given]
        if missing:
            raise ValueError(f"{missing[0]} must be given")

    def _built(self, name: str, value: Any, subject: tuple[str, Any] | None, offered: Mapping[str, Any]) -> Any:
        """Return an option as the callable wants it: components built, words for torch's own values."""
        if isinstance(value, TargetComponent):
            try:
                return value.build(subject, within=bool(offered), **offered)
            except ValueError as error:
                raise ValueError(f"{value.target}: {error}") from None
        if isinstance(value, list):
            value = [self._built("", entry, subject, offered) for entry in value]
        parameter = self._parameters.get(name)
        return value if parameter is None else _as_wanted(name, value, parameter)

    def identity(self) -> dict[str, Any]:
        """Return what tells it from another, as JSON-able data: its code (a package's is its version) and options."""
        options = {name: _plain(value) for name, value in sorted(self.options.items())}
        return {**source_identity(self.callable, named=self.target), "options": options}

    def __str__(self) -> str:
        """Give the call, as in "torch.optim.SGD(momentum=0.9)"."""
        return f"{self.target}({', '.join(f'{name}={_said(value)}' for name, value in self.options.items())})"

    def __hash__(self) -> int:
        return hash((self.target, json.dumps(_plain_text(self.options), sort_keys=True)))

    def __getstate__(self) -> dict[str, Any]:
        """Go to another process without the callable, which is found there by its name."""
        return {"target": self.target, "options": self.options}


def components_in(value: Any, /) -> Iterator[TargetComponent]:
    """Yield a component and those among its options, from the outside in."""
    if isinstance(value, TargetComponent):
        yield value
        value = list(value.options.values())
    if isinstance(value, list):
        for entry in value:
            yield from components_in(entry)


def _read_option(value: Any) -> Any:
    if isinstance(value, Mapping):
        return TargetComponent.read(value) if _TARGET in value else dict(value)
    return [_read_option(entry) for entry in value] if isinstance(value, list | tuple) else value


def _as_wanted(name: str, value: Any, parameter: inspect.Parameter) -> Any:
    """Return a value in the type of an argument's default or annotation. ValueError where it is of another kind.

    torch's classes look at few of their arguments: a word where a truth value is meant would count as true.
    """
    default, annotation = parameter.default, str(parameter.annotation)
    if isinstance(default, Enum) and isinstance(value, str):
        kind = type(default)
        by_word = {word.lower(): member for member in kind for word in (member.name, str(member.value))}
        if value.lower() not in by_word:
            raise ValueError(f"{name}={value}: must be {', '.join(str(member.value) for member in kind)}")
        return by_word[value.lower()]
    if isinstance(value, str) and re.fullmatch(r"torch\.\w+", value):
        found = getattr(torch, value.removeprefix("torch."), None)
        return found if isinstance(found, torch.dtype) else value
    if isinstance(value, list) and isinstance(default, tuple):
        return tuple(value)  # AdamW's last bits are others with a list of betas
    if isinstance(value, list) and "Tensor" in annotation and value and all(map(_is_number, value)):
        return torch.tensor(value, dtype=torch.float32)
    wanted = {bool: "true or false", str: "a word"}.get(type(default))
    if wanted is not None and value is not None and type(value) is not type(default):
        raise ValueError(f"{name}={shown(value)}: must be {wanted}")
    if (_is_number(default) or ("bool" in annotation and "str" not in annotation)) and isinstance(value, str):
        raise ValueError(f"{name}={value}: must be {'a number' if _is_number(default) else 'true, false or null'}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    if isinstance(value, TargetComponent):
        return value.identity()
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def _plain_text(value: Any) -> Any:
    if isinstance(value, TargetComponent):
        return {_TARGET: value.target, "options": _plain_text(value.options)}
    if isinstance(value, Mapping):
        return {str(name): _plain_text(entry) for name, entry in value.items()}
    return [_plain_text(entry) for entry in value] if isinstance(value, list) else value


def _said(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_said, value))}]"
    return str(value) if isinstance(value, TargetComponent) else shown(value)
