"""What a source imports: read from its text, nothing is run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

_LOADERS = ("import_module", "__import__", "find_spec", "resolve_name")
"""Functions that take a module by its name."""
_LAZY = ("__getattr__", "attach", "LazyLoader")
"""What a module defines or calls that loads others on first use, by names that stand in it as texts."""
_DOTTED = re.compile(r"\.*[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Imports:
    """Full names of modules."""

    certain: set[str] = field(default_factory=set)
    """Imported as modules."""
    possible: set[str] = field(default_factory=set)
    """Modules, or names within one: the `a.b` of `from a import b`, and texts of a module that loads others lazily."""
    stars: set[str] = field(default_factory=set)
    """Packages of which everything in `__all__` is imported."""
    families: set[str] = field(default_factory=set)
    """Packages from which a module is loaded whose name is only known when it runs, as in f"my_nets.{name}"."""
    public: set[str] = field(default_factory=set)
    """The texts of the source's own `__all__`."""


def imports_of(source: bytes, module: str, /, *, is_package: bool) -> Imports:
    """Return what a module's source imports, wherever it stands: in functions, under conditions, for type checkers.

    Nothing of a source that Python can't read.
    """
    found = Imports()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a text is for its author to hear of
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return found
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.certain.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            _add_from(node, package, found)
        elif isinstance(node, ast.Call):
            _add_call(node, package, found)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets) and node.value:
                found.public.update(_texts(node.value))
    if _is_lazy(tree):
        for text in filter(_DOTTED.fullmatch, _texts(tree)):
            found.possible.update({absolute(text, package)} if text.startswith(".") else {f"{package}.{text}", text})
    return found


def absolute(name: str, package: str, /) -> str:
    """Return the full name behind one that may begin with dots, within a package.

    >>> absolute("..parts", "kit.nets"), absolute("math", "kit")
    ('kit.parts', 'math')
    """
    rest = name.lstrip(".")
    level = len(name) - len(rest)
    if not level:
        return rest
    parents = package.split(".")
    return ".".join(filter(None, [*parents[: len(parents) - level + 1], rest]))


def _add_from(node: ast.ImportFrom, package: str, found: Imports) -> None:
    name = absolute("." * node.level + (node.module or ""), package)
    found.certain.add(name)
    if any(alias.name == "*" for alias in node.names):
        found.stars.add(name)
    found.possible.update(f"{name}.{alias.name}" for alias in node.names)


def _add_call(node: ast.Call, package: str, found: Imports) -> None:
    """Add the module that a call names in a text; where only the text's beginning is known, the package."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called not in _LOADERS or not node.args:
        return
    name, *others = node.args
    given = [other.value for other in others if isinstance(other, ast.Constant) and isinstance(other.value, str)]
    package = given[0] if given else package
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        found.certain.add(absolute(name.value.partition(":")[0], package))
        return
    beginning = re.split(r"[{%]", _beginning(name))[0]
    if "." in beginning:
        found.families.add(absolute(beginning.rstrip(".") if beginning.strip(".") else beginning, package))


def _beginning(node: ast.expr) -> str:
    """Return the text that an expression begins with, as in f"nets.{name}", "nets." + name, "nets.{}".format(name)."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=[first, *_]):
            return _beginning(first)
        case ast.BinOp(left=first) | ast.Call(func=ast.Attribute(value=first)):
            return _beginning(first)
    return ""


def _is_lazy(tree: ast.Module) -> bool:
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    names |= {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}
    return not names.isdisjoint(_LAZY)


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
