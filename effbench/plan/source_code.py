"""Which code a user's class or factory reaches: what tells one version of it from another.

effbench's own classes carry a VERSION. A user's have none: they are their sources, those of all modules that these
import outside of site-packages, the standard library and effbench, and the versions of the packages that they import.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

_EFFBENCH = Path(__file__).resolve().parents[1]


def is_own(target: Callable[..., Any], /) -> bool:
    """Whether a class or function is effbench's."""
    return _module_name(target).partition(".")[0] == "effbench"


def source_identity(target: Callable[..., Any], /) -> dict[str, Any]:
    """Return what tells a class or function from outside effbench from another version of itself, as JSON-able data.

    {"module", "name", "sources": a digest, "packages": versions by name}. Of one in an installed package, only that
    package's version.
    """
    target = inspect.unwrap(target)
    module = _module_name(target)
    sources, packages = _reached(module)
    return {
        "module": module,
        "name": getattr(target, "__qualname__", type(target).__qualname__),
        "sources": sources,
        "packages": dict(packages),
    }


def _module_name(target: Callable[..., Any]) -> str:
    return str(getattr(inspect.unwrap(target), "__module__", type(target).__module__))


@lru_cache(maxsize=256)
def _reached(module: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return a digest of all sources that a module reaches, and the versions of the packages that they import."""
    content, packages, waiting, seen = hashlib.sha256(), set[str](), [module], {module}
    while waiting:
        name = waiting.pop()
        path = _user_file(name)
        if path is None:
            packages.add(name.partition(".")[0])
            continue
        text = path.read_bytes()
        content.update(hashlib.sha256(name.encode() + b"\0" + text).digest())
        for imported in sorted(set(_imports(text, name, is_package=path.name == "__init__.py"))):
            if imported not in seen:
                seen.add(imported)
                waiting.append(imported)
    versions = {distribution: _version(distribution) for distribution in map(_distribution, packages)}
    kept = {name: number for name, number in versions.items() if number and name != "effbench"}
    return content.hexdigest()[:16], tuple(sorted(kept.items()))


def _user_file(module: str) -> Path | None:
    """Return the source of a module that is the user's own; None of a package, the standard library or effbench."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        try:
            spec = importlib.util.find_spec(module)
        except Exception:  # a name in a module, which `from a import b` may be; or what its package raises
            return None
        file = spec.origin if spec is not None else None
    if file is None or not file.endswith(".py"):
        return None
    path = Path(file).resolve()
    inside = path.is_relative_to(_EFFBENCH) or "site-packages" in path.parts or "dist-packages" in path.parts
    standard = module.partition(".")[0] in sys.stdlib_module_names
    return None if inside or standard or not path.is_file() else path


def _imports(text: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield the full names of what a source imports; `from a import b` gives a and a.b, which may be a module."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".") if is_package else module.split(".")[:-1]
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            name = ".".join(filter(None, (base, node.module)))
            yield from _with_parents(name)
            yield from (f"{name}.{alias.name}" for alias in node.names if _user_file(f"{name}.{alias.name}"))


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: n + 1]) for n in range(len(parts)) if parts[0])


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _distribution(package: str) -> str:
    return next(iter(_distributions().get(package, [package])), package)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # the standard library, or a module that is nowhere
        return ""
