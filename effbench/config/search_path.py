"""Where the configuration is looked for: effbench's own folder, then the folders of the user's that a command names.

Hydra's spelling: `--config-dir DIR` (`-cd DIR`) adds a folder, `hydra.searchpath=[file://DIR,pkg://my_package.conf]`
more of them, `--config-name NAME` (`-cn NAME`) takes the defaults of every run from NAME.yaml in one of them. Hydra's
order, too: effbench's own, the folder of --config-dir, those of hydra.searchpath as they stand; what is found first
counts. A name that effbench has itself is refused in the others, where Hydra would pass over it without a word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from effbench.checks.fields import shown
from effbench.config.options import read_options
from effbench.config.overrides import parse, values_of
from effbench.config.resolved_file import ResolvedFile, find_resolved
from effbench.config.typed import unknown_name
from effbench.config.yaml_files import read_yaml
from effbench.plan.modules import folders_of

PRIMARY = "config"
"""The configuration that holds the defaults of every run: conf/config.yaml."""
_DIR, _NAME = "--config-dir", "--config-name"
_KEY = "hydra.searchpath"
_MORE = f"{_KEY}=[pkg://my_package.conf] or {_KEY}=[file:///path/to/conf]"


@dataclass(frozen=True)
class Folder:
    """A folder of configuration files of the user's."""

    path: Path
    """Absolute."""
    name: str
    """As the user wrote it, for messages."""

    def shown(self, path: Path) -> str:
        """Return a path within the folder as the user would write it."""
        return os.path.join(self.name, path.relative_to(self.path))


@dataclass(frozen=True, kw_only=True)
class SearchPath:
    """The user's folders, the first one first, and the configuration that runs begin with."""

    folders: tuple[Folder, ...] = ()
    primary: str = PRIMARY
    resolved: ResolvedFile | None = None
    """The configuration of a run that was found in a folder, and stands for all others."""

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders that are read, absolute."""
        own = () if self.resolved is None or self.resolved.folder is None else (self.resolved.folder,)
        return (*(folder.path for folder in self.folders), *own)


_active: ContextVar[SearchPath] = ContextVar("search_path", default=SearchPath())  # noqa: B039 (it is frozen)


def conf_folder() -> Path:
    """Return effbench's own folder of configuration: inside the installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def search_path() -> SearchPath:
    """Return where is looked at the moment: within `searching` there, else in effbench's own folder alone."""
    return _active.get()


@contextmanager
def searching(path: SearchPath, /) -> Iterator[None]:
    """Have `path` looked through while entered; nothing of it is left for whoever comes next."""
    token = _active.set(path)
    try:
        yield
    finally:
        _active.reset(token)


def take_search_path(arguments: Sequence[str], /) -> tuple[SearchPath, list[str]]:
    """Return the search path that arguments ask for, and the other arguments.

    ValueError, in one clear line, for an option without a value or given twice, and for a folder that is not there.
    """
    options, rest = (read := read_options(arguments)).values, read.overrides
    places = [argument for argument in rest if re.match(rf"\+{{0,2}}{re.escape(_KEY)}=", argument)]
    others = [argument for argument in rest if argument not in places]
    folders = [_folder(_DIR, options[_DIR])] if _DIR in options else []
    if len(places) > 1:
        raise ValueError(f"{places[1]}: {_KEY} is given already ({places[0]}); write both into one list")
    for place in places:
        folders += _folders(_value_of(place), where=_KEY)
    primary = options.get(_NAME, PRIMARY).removesuffix(".yaml")
    for folder in folders:
        resolved = find_resolved(folder.path, primary, folder.shown(folder.path / f"{primary}.yaml"))
        if resolved is not None:
            beside = tuple(other for other in folders if other.path != folder.path)
            return SearchPath(folders=beside, resolved=resolved), others
    if primary != PRIMARY:
        node = read_yaml(*(found := _primary_file(primary, folders)))
        folders += _folders((node.get("hydra") or {}).get("searchpath") or [], where=f"{found[1]}: {_KEY}")
    first = {folder.path: folder for folder in reversed(folders)}
    return SearchPath(folders=tuple(reversed(first.values())), primary=primary), others


def _value_of(argument: str) -> object:
    """Return the value of `hydra.searchpath=…`: a list, also of what is no word of Hydra's, such as ~ and spaces."""
    try:
        (override,) = parse([argument])
        return argument if override.is_sweep_override() else next(values_of(override))
    except ValueError:
        inside = re.fullmatch(r"\[(.*)\]", argument.partition("=")[2].strip())
        if inside is None:
            raise
        return [text.strip().strip("'\"") for text in inside[1].split(",") if text.strip()]


def primary_file() -> tuple[Path, str]:
    """Return the user's file of defaults, and how the user would write it."""
    return _primary_file(search_path().primary, search_path().folders)


def _primary_file(name: str, folders: Sequence[Folder]) -> tuple[Path, str]:
    for folder in folders:
        path = folder.path / f"{name}.yaml"
        if path.is_file():
            return path, folder.shown(path)
    raise ValueError(f"{_NAME}={name}: {_no_primary(name, folders)}")


def _no_primary(name: str, folders: Sequence[Folder]) -> str:
    if not folders:
        return f"there is no such file without a folder to look in; give that too, as in {_DIR} conf_mine"
    known = [path.stem for folder in folders for path in folder.path.glob("*.yaml") if path.stem != PRIMARY]
    if known:
        return unknown_name(name, known, "file").partition(": ")[2]
    return f"there is no {name}.yaml in {', '.join(folder.name for folder in folders)}"


def _folders(places: object, *, where: str) -> list[Folder]:
    if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
        raise ValueError(f"{where}={shown(places)}: must be a list of folders, as in {_MORE}")
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(places), resolve=True)  # such as ${oc.env:HOME}
    except OmegaConfBaseException as error:
        raise ValueError(f"{where}={shown(places)}: {str(error).splitlines()[0]}") from None
    assert isinstance(resolved, list)
    return [_place(str(place), where) for place in resolved]


def _place(place: str, where: str) -> Folder:
    scheme, separator, rest = place.partition("://")
    if not separator or scheme == "file":
        return _folder(where, rest if separator else place)
    if scheme != "pkg":
        raise ValueError(f"{where}={place}: must begin with file:// or pkg://, as in {_MORE}")
    package = rest.strip("/").replace("/", ".")
    found = [Path(folder) for folder in (folders_of(package) if package else ()) if os.path.isdir(folder)]
    if not found:
        raise ValueError(f"{where}={place}: there is no such package; it must be importable here, and be a folder")
    return Folder(Path(os.path.abspath(found[0])), str(found[0]))


def _folder(where: str, written: str) -> Folder:
    try:
        path = Path(os.path.abspath(Path(written).expanduser()))
        is_there, is_folder = path.exists(), path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # no such home; a text that is no path
        raise ValueError(f"{where}={written}: is no folder ({error})") from None
    if not is_folder:
        what = "is a file; name the folder that it lies in" if is_there else f"there is no such folder in {Path.cwd()}"
        what = "there is no such folder" if not is_there and Path(written).expanduser().is_absolute() else what
        raise ValueError(f"{where}={written}: {what}")
    return Folder(path, written)
