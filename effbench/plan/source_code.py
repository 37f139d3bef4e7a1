"""Which code a user's class or factory reaches: what tells one version of it from another.

effbench's own classes carry a VERSION. A user's have none: they are their sources, those of all modules that these
import outside of installed packages, the standard library and effbench, and the versions of the packages that they
import. What code reads when it runs (files, environment) can't be known.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from effbench.plan.importable import at
from effbench.plan.imports import Imports, imports_of
from effbench.plan.modules import UserModule, distributions_of, is_namespace, submodules, user_module

Reached = tuple[str, dict[str, str]]
"""A digest of sources, and the versions of packages by their names."""

_as_loaded = ContextVar("as_loaded", default=False)
_kept: dict[object, tuple[list[tuple[UserModule, object]], Reached]] = {}
"""What modules reach, as long as no file of theirs is written."""
_first_seen: dict[str, tuple[object, bytes]] = {}
"""Of modules that this process has imported: their specification, and their content when it was first read."""


def is_own(target: Callable[..., Any], /) -> bool:
    """Whether a class or function is effbench's, and nothing of a user's is wrapped around it."""
    *wrappers, inner = _layers_of(target)
    if (
        isinstance(target, functools.partial)
        or not hasattr(inner, "__qualname__")
        or not _is_effbenchs(_module_of(inner))
    ):
        return False
    return not any(user_module(_written_in(wrapper)) for wrapper in wrappers)


def source_identity(target: Callable[..., Any], /, *, named: str | None = None) -> dict[str, Any]:
    """Return what tells a class or function from outside effbench from another version of itself, as JSON-able data.

    named: the dotted name under which it was asked for, which need not be where it is defined.
    {"module", "name", "sources": a digest, "packages": versions by name}, and "named" where these don't lead back to
    it, as of a partial or a lambda. Of one in an installed package, only that package's version.
    """
    inner = inspect.unwrap(target)
    module, name = _module_of(inner), getattr(inner, "__qualname__", type(inner).__qualname__)
    sources, packages = _reached(_roots_of(target, named))
    identity = {"module": module, "name": name, "sources": sources, "packages": packages}
    if named is not None and at(module, name) is not target:
        identity["named"] = named
    if getattr(sys.modules.get(module), "__file__", None) is None:  # written in a notebook
        identity["text"] = _text_of(inner)
    return identity


def module_identity(name: str, /) -> dict[str, Any]:
    """Return what tells a module from another version of itself, as JSON-able data: see `source_identity`."""
    sources, packages = _reached((name,))
    return {"module": name, "sources": sources, "packages": packages}


def source_files(target: Callable[..., Any], /, *, named: str | None = None) -> set[str]:
    """Return the files that hold the sources of `source_identity`."""
    modules = _follow(_roots_of(target, named)).values()
    return {str(module.stamp()[0]) for module in modules if module is not None}


@contextmanager
def sources_as_loaded() -> Iterator[None]:
    """Have identities tell the code that this process has imported, were its files written since."""
    token = _as_loaded.set(True)
    try:
        yield
    finally:
        _as_loaded.reset(token)


def _roots_of(target: Callable[..., Any], named: str | None) -> tuple[str, ...]:
    """Return the modules from which what a target reaches is followed."""
    where = [] if named is None else [named.rpartition(".")[0]]
    return tuple(dict.fromkeys([_module_of(inspect.unwrap(target)), *sorted(set(_modules_of(target))), *where]))


def _module_of(target: Any) -> str:
    while isinstance(target, functools.partial):
        target = target.func
    return str(getattr(target, "__module__", None) or type(target).__module__)


def _written_in(function: Any) -> str:
    """Return the module in which a function was really written: `functools.wraps` gives it another one's name."""
    return str(getattr(function, "__globals__", {}).get("__name__") or _module_of(function))


def _is_effbenchs(module: str) -> bool:
    return module.partition(".")[0] == "effbench"


def _layers_of(target: Any) -> Iterator[Any]:
    """Yield a target and what it is wrapped around, from the outside in."""
    yield target
    while hasattr(target, "__wrapped__") or isinstance(target, functools.partial):
        target = target.func if isinstance(target, functools.partial) else target.__wrapped__
        yield target


def _modules_of(target: Any) -> Iterator[str]:
    """Yield the modules of all that a target is made of: its layers, what these were given, base classes."""
    for layer in _layers_of(target):
        yield _written_in(layer)
        if isinstance(layer, functools.partial):
            given = (*layer.args, *layer.keywords.values())
            yield from (module for value in given if callable(value) for module in _modules_of(value))
        if isinstance(layer, type):
            yield from (base.__module__ for base in layer.__mro__)


def _text_of(target: Any) -> str:
    try:
        return hashlib.sha256(inspect.getsource(target).encode()).hexdigest()[:16]
    except (OSError, TypeError):  # nobody has it
        return ""


def _reached(roots: tuple[str, ...]) -> Reached:
    key = (roots, _as_loaded.get())
    stamps, reached = _kept.get(key, (None, None))
    if stamps is not None and reached is not None and all(_stamp(module) == stamp for module, stamp in stamps):
        return reached
    modules = _follow(roots)
    stamps = [(module, _stamp(module)) for module in modules.values() if module is not None]
    content, packages = hashlib.sha256(), set[str]()
    for name, module in modules.items():
        if module is not None:
            content.update(hashlib.sha256(name.encode() + b"\0" + _content(module)).digest())
        elif not (_is_effbenchs(name) or is_namespace(name)):
            packages.add(name.partition(".")[0])
    versions = {owner: _version(owner) for package in packages for owner in distributions_of(package)}
    reached = content.hexdigest()[:16], {name: number for name, number in sorted(versions.items()) if number}
    _kept[key] = stamps, reached
    return reached


def _follow(roots: tuple[str, ...]) -> dict[str, UserModule | None]:
    """Return every module that the roots import, and those import, and so on; None of those that are not the user's."""
    found: dict[str, UserModule | None] = {}
    seen: set[str] = set()
    for start in (name for root in roots for name in (root, *_with_parents(root))):  # packages are imported with them
        waiting = [start] if start and start not in seen else []
        seen.update(waiting)
        while waiting:
            name = waiting.pop()
            found[name] = module = user_module(name)
            if module is not None:
                new = sorted(_imported_by(module) - seen)
                seen.update(new)
                waiting += new
    return found


def _imported_by(module: UserModule) -> set[str]:
    imports = _imports(module)
    possible = set(imports.possible)
    for package in imports.stars:
        starred = user_module(package)
        possible |= {f"{package}.{name}" for name in (_imports(starred).public if starred else ())}
    for package in imports.families:
        possible |= set(submodules(package))
        imports.certain.add(package)
    certain = {name for full in imports.certain for name in _with_parents(full)}
    return certain | {name for full in possible if user_module(full) for name in (full, *_with_parents(full))}


def _imports(module: UserModule) -> Imports:
    return imports_of(_content(module), module.name, is_package=module.is_package) if module.is_source else Imports()


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))] if parts[0] else []


def _content(module: UserModule) -> bytes:
    """Return a module's content; within `sources_as_loaded`, that with which this process imported it.

    That is what it was when it was first looked at, which is when the plan was made or a worker got its first run.
    """
    content = module.content()
    loaded = sys.modules.get(module.name)
    if loaded is None:
        return content
    spec = getattr(loaded, "__spec__", None)
    if (
        module.name not in _first_seen or _first_seen[module.name][0] is not spec
    ):  # a module that is reloaded has another
        _first_seen[module.name] = spec, content
    return _first_seen[module.name][1] if _as_loaded.get() else content


def _stamp(module: UserModule) -> object:
    try:
        return module.stamp(), id(getattr(sys.modules.get(module.name), "__spec__", None))
    except OSError:
        return None


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # the standard library, or a module that is nowhere
        return ""
