"""All that decides a planned sweep's answer, gathered: its files, folders and packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

from effbench.config.search_path import conf_folder
from effbench.plan.blueprint import Blueprint
from effbench.plan.chain import Chain
from effbench.plan.source_code import is_own, source_files, source_identity
from effbench.plan.sweep import Sweep
from effbench.plan.witnesses import NESTED, PACKAGE, Witnesses
from effbench.run.entry import entry_path
from effbench.run.results import parts_of
from effbench.run.store import Store
from effbench.sweep.printout import Printout


def witnesses_of(sweep: Sweep, store: Store, printout: Printout, /) -> Witnesses | None:
    """Return what decides the answer of a sweep; None where it is not known: a data set of the user's own."""
    files = {str(entry_path(store.root, part)) for point in sweep.plan.points for part in parts_of(point.key)}
    files |= {printout.figure} if printout.figure is not None else set()
    files |= {str(path) for folder in sweep.config_folders for path in Path(folder).glob("*.yaml")}
    folders = {str(PACKAGE), str(conf_folder())}
    packages = {re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0] for requirement in requires("effbench") or ()}
    packages.add("effbench")
    chains = list(_chains(sweep))
    if not all(is_own(chain.data.callable) for chain in chains):
        return None
    blueprints = [part for chain in chains for part in (chain.network, chain.task, chain.data)]
    for blueprint in {*blueprints, *sweep.engines.values()}:
        files |= _files_of(blueprint)
        folders |= {str(path) for path in _paths_of(blueprint) if path.is_dir()}
        packages |= _packages_of(blueprint.callable, blueprint.target)
    for kind in {type(step.stage) for chain in chains for step in chain.plain_steps}:
        if not is_own(kind):
            files |= source_files(kind)
            packages |= _packages_of(kind, None)
    return Witnesses(
        files=frozenset(files),
        folders=frozenset(folders),
        packages=frozenset(packages),
        configurations=frozenset(str(path) for folder in sweep.config_folders for path in _groups_in(Path(folder))),
    )


def _groups_in(folder: Path) -> Iterator[Path]:
    """Yield the folders of configuration files in a user's, which may hold data, runs and the store, too."""
    for path in folder.iterdir():
        nested = path.rglob if path.name in NESTED else path.glob
        if path.is_dir() and path.name[0] not in "._" and any(nested("*.yaml")):
            yield path


def _chains(sweep: Sweep) -> Iterator[Chain]:
    """Yield the chains of a sweep and those of their teachers, each once."""
    waiting = [point.chain for point in sweep.plan.points]
    seen: set[str] = set()
    while waiting:
        chain = waiting.pop()
        if chain.key not in seen:
            seen.add(chain.key)
            yield chain
            waiting += [step.teacher for step in chain.plain_steps if step.teacher is not None]


def _files_of(blueprint: Blueprint) -> set[str]:
    """Return the sources of what is the user's own, and the files that options name."""
    sources = set() if is_own(blueprint.callable) else source_files(blueprint.callable, named=blueprint.target)
    return sources | {str(path) for path in _paths_of(blueprint) if path.is_file()}


def _paths_of(blueprint: Blueprint) -> Iterator[Path]:
    """Yield the paths that options may be."""
    for value in blueprint.options.values():
        if isinstance(value, str) and value and "\0" not in value and len(value) < 4096:
            yield Path(value).expanduser().absolute()


def _packages_of(target: object, named: str | None) -> set[str]:
    if not callable(target) or is_own(target):
        return set()
    return set(source_identity(target, named=named)["packages"])
