"""Where modules come from: the user's own sources, installed packages, or the standard library. None is imported."""

from __future__ import annotations

import hashlib
import os
import pkgutil
import site
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.machinery import SOURCE_SUFFIXES, ModuleSpec
from importlib.metadata import distributions, packages_distributions
from importlib.util import spec_from_file_location
from pathlib import Path

from effbench.checks.stamps import stamp_of


@dataclass(frozen=True)
class UserModule:
    """A module whose file is the user's own: a source, or something compiled."""

    name: str
    spec: ModuleSpec

    @property
    def is_package(self) -> bool:
        """Whether it is the `__init__` of a package."""
        return self.spec.submodule_search_locations is not None

    @property
    def is_source(self) -> bool:
        """Whether it is Python."""
        return str(self.spec.origin).endswith(tuple(SOURCE_SUFFIXES))

    def content(self) -> bytes:
        """Return its text, whatever its line ends are; of what is compiled a digest."""
        get_data = getattr(self.spec.loader, "get_data", None)  # a module may lie in a zip file
        data: bytes = Path(str(self.spec.origin)).read_bytes() if get_data is None else get_data(self.spec.origin)
        return data.replace(b"\r\n", b"\n") if self.is_source else hashlib.sha256(data).digest()

    def stamp(self) -> tuple[str, int, int, int]:
        """Return its file's path, and what changes when that is written."""
        path = str(getattr(self.spec.loader, "archive", self.spec.origin))
        return path, *stamp_of(path)


def user_module(name: str, /) -> UserModule | None:
    """Return a module of the user's own; None of another, of a package without `__init__`, and of what is nowhere."""
    top = name.partition(".")[0]
    spec = None if top == "effbench" else find(name)
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    module = UserModule(name, spec)
    if _is_installed(spec.origin) or is_standard(spec.origin):
        return None
    try:
        module.stamp()
    except OSError:  # a loader that has no files
        return None
    return module


def is_namespace(name: str, /) -> bool:
    """Whether a module is a package without an `__init__`: only a name for folders."""
    spec = find(name)
    return spec is not None and spec.submodule_search_locations is not None and spec.origin is None


def find(name: str, /) -> ModuleSpec | None:
    """Return a module's specification: of one that is imported its own, else as importing it would find it.

    Its packages are not imported, unlike by `importlib.util.find_spec`: they may be scripts, or not work here.
    """
    loaded = sys.modules.get(name)
    if loaded is not None:
        spec: ModuleSpec | None = getattr(loaded, "__spec__", None)
        file = getattr(loaded, "__file__", None)
        return spec_from_file_location(name, file) if spec is None and file else spec
    parent = name.rpartition(".")[0]
    folders = folders_of(parent) if parent else None
    if parent and not folders:
        return None
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, folders)
        except Exception:  # whatever a finder of somebody's makes of a name
            continue
        if spec is not None:
            return spec
    named = [folder for outer in folders or () if os.path.isdir(folder := os.path.join(outer, name[len(parent) + 1 :]))]
    if not named:
        return None
    spec = ModuleSpec(name, None, is_package=True)  # without `__init__`: Python finds that once its package is imported
    spec.submodule_search_locations = named
    return spec


def submodules(package: str, /) -> list[str]:
    """Return the full names of the modules that lie in a package."""
    return sorted(f"{package}.{module.name}" for module in pkgutil.iter_modules(folders_of(package)))


def folders_of(package: str, /) -> Sequence[str]:
    """Return the folders of a package, which is not imported; none where there is no such package."""
    spec = find(package)
    if spec is None or spec.submodule_search_locations is None:
        return []
    return list(spec.submodule_search_locations)


def distributions_of(package: str, /) -> list[str]:
    """Return the names of the distributions that a top-level package was installed by; its own where there is none."""
    return sorted(set(_by_package().get(package, [package])))


def _is_installed(file: str) -> bool:
    """Whether a file was installed where it lies: its package's version then says what it is.

    What only lies among installed packages has no version: a file put there by hand, a link to a folder of the user's.
    """
    return any(package in packages for folder, packages in _installed() for package in _first_parts(file, folder))


def is_standard(file: str, /) -> bool:
    """Whether a file came with Python itself."""
    paths = sysconfig.get_paths()
    folders = (paths["stdlib"], paths["platstdlib"])
    inside = {part for folder in folders for part in _first_parts(file, folder)}
    # Packages lie in a folder of it, and there what nobody installed.
    return bool(inside - {"site-packages", "dist-packages"})


def _first_parts(file: str, folder: str) -> Iterator[str]:
    """Yield the name of what lies in a folder and is the file or holds it, as it is written and behind links."""
    for one, other in ((os.path.abspath(file), os.path.abspath(folder)), _resolved(file, folder)):
        if one.startswith(other + os.sep):
            yield one[len(other) + 1 :].partition(os.sep)[0].partition(".")[0]


@lru_cache(maxsize=4096)
def _resolved(file: str, folder: str) -> tuple[str, str]:
    return os.path.realpath(file), os.path.realpath(folder)


@cache
def _by_package() -> dict[str, list[str]]:
    return dict(packages_distributions())


@cache
def _installed() -> list[tuple[str, set[str]]]:
    """Return the folders that packages were installed into, and which.

    There may be others than Python's own, as in PYTHONPATH. What was installed there has a RECORD, which the egg-info
    of a checkout has not.
    """
    paths = sysconfig.get_paths()
    own = dict.fromkeys((paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()))
    packages: dict[str, set[str]] = {}
    for package, owners in _by_package().items():
        for owner in owners:
            packages.setdefault(owner, set()).add(package)
    others = [
        (str(distribution.locate_file("")), packages.get(distribution.metadata["Name"], set()))
        for distribution in distributions()
        if str(distribution.locate_file("")) not in own and distribution.read_text("RECORD") is not None
    ]
    return [*((folder, set(_by_package())) for folder in own), *others]
