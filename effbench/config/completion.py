"""Completion of the command in a shell: `eval "$(effbench sweep -sc install=bash)"`, zsh and fish likewise.

A shell hands over the line, and gets what the word at the cursor may become: groups and their members, keys, axes,
options, paths. All of it is read from files, as nothing is composed and nothing heavy imported: an answer takes a
fraction of a second. What a word becomes within a configuration is told by Hydra's own machinery, whose scripts know
neither `python -m` nor `effbench sweep`, and so are others here.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.plugins.completion_plugin import CompletionPlugin
from omegaconf import OmegaConf

from effbench.config.component_keys import FIELDS, HOMES
from effbench.config.experiment_files import EXPERIMENTS, experiment_files
from effbench.config.members import members, users_files
from effbench.config.options import OPTIONS, SHORT
from effbench.config.search_path import PRIMARY, SearchPath, conf_folder, searching, take_search_path
from effbench.config.typed import unknown_name
from effbench.config.yaml_files import read_yaml

SCRIPTS = Path(__file__).parent / "completions"
SHELLS = ("bash", "zsh", "fish")
_ACTIONS = ("install", "uninstall", "query")
_CHOSEN = ("task", "model", "data", "recipe", "train", "tracking")
_HYDRAS = ("hydra/launcher=", "hydra/job_logging=", "hydra/hydra_logging=", "hydra.searchpath=", "hydra.verbose=")


def completion_text(arguments: Sequence[str], /) -> str:
    """Return what -sc prints: a shell's script to install or take away, or what a line may go on with, a word a line.

    ValueError, in one line, for what is none of these.
    """
    asked = [argument.partition("=") for argument in arguments]
    if len(asked) != 1 or asked[0][0] not in _ACTIONS:
        raise ValueError(f"-sc: must be followed by install=, uninstall= or query= and one of {', '.join(SHELLS)}")
    (action, _, shell) = asked[0]
    if shell not in SHELLS:
        raise ValueError(f"-sc {action}={unknown_name(shell, SHELLS, 'shell')}")
    if action == "query":
        line = os.environ.get("COMP_LINE", "")
        point = os.environ.get("COMP_POINT", "")
        return "\n".join(candidates(line[: int(point)] if point.isdigit() else line))
    end = "" if action == "install" else ".uninstall"
    return (SCRIPTS / f"{shell}{end}.txt").read_text(encoding="utf-8").rstrip("\n")


def candidates(line: str, /) -> list[str]:
    """Return what the last word of a line may become. line: all that stands before the cursor, the program included.

    >>> candidates("effbench sweep +prune_bl")
    ['+prune_blocks=']
    >>> candidates("python -m effbench.sweep model=lenet_")
    ['model=lenet_300_100', 'model=lenet_5']
    """
    words = _words(line)
    *before, word = words[_n_of_program(words) :] or [""]
    if before and SHORT.get(before[-1], before[-1]) in OPTIONS:
        option = SHORT.get(before[-1], before[-1])
        if OPTIONS[option].example is not None and not word.startswith("-"):
            return _of_option(option, word, before)
    if word.startswith("-"):
        return _of_options(word, before)
    with searching(_path_of(before)):
        return sorted(set(_of_key(word, before)))


def _words(line: str) -> list[str]:
    """Return the words of a line, the last one being what is typed at the moment; an open quote is none."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    return [*words, ""] if not line or line[-1].isspace() else words


def _n_of_program(words: Sequence[str]) -> int:
    """Return how many words the program takes: `effbench sweep`, `python -m effbench.sweep`, or one of another name."""
    if "effbench.sweep" in words[:-1]:
        return words.index("effbench.sweep") + 1
    return 2 if len(words) > 2 and words[1] == "sweep" else 1


def _path_of(words: Sequence[str]) -> SearchPath:
    """Return where the words of a line have the configuration looked for, as far as they say it."""
    for given in (words, [word for word in words if "=" in word or word.startswith("hydra.")], ()):
        try:
            return take_search_path(given)[0]
        except (ValueError, OSError):
            continue
    return SearchPath()


def _of_options(word: str, before: Sequence[str]) -> list[str]:
    names = [*OPTIONS, *SHORT] if not word.startswith("--") else [*OPTIONS]
    written, equals, value = word.partition("=")
    option = SHORT.get(written, written)
    if equals and option in OPTIONS:
        return [f"{written}={found}" for found in _of_option(option, value, before)]
    return sorted(name for name in names if name.startswith(word))


def _of_option(option: str, word: str, before: Sequence[str]) -> list[str]:
    """Return what may follow an option."""
    if option == "--config-dir":
        return sorted(path for path in _files(word) if path.endswith("/"))
    if option == "--config-name":
        folders = _path_of([w for w in before if w not in ("--config-name", "-cn")]).folders
        found = [path.stem for folder in folders for path in folder.path.glob("*.yaml")]
        return sorted(name for name in found if name.startswith(word))
    if option == "--package":
        nodes = [str(path).rstrip("=.") for path in CompletionPlugin._get_matches(_configuration(before), word)]
        return sorted(nodes)
    return [choice for choice in OPTIONS[option].choices if choice.startswith(word)]


def _of_key(word: str, before: Sequence[str]) -> Iterator[str]:
    """Yield what a word that is no option may become."""
    if "-sc" in before or "--shell-completion" in before:
        yield from (w for a in _ACTIONS for s in SHELLS if (w := f"{a}={s}").startswith(word))
        return
    prefix = re.match(r"[+~]*", word)[0]  # type: ignore[index]
    rest = word[len(prefix) :]
    key, equals, value = rest.partition("=")
    if equals:
        begun = value.rpartition(",")[0]
        begin = f"{prefix}{key}={begun}{',' if ',' in value else ''}"
        last = value.rpartition(",")[2]
        yield from (f"{begin}{found}" for found in _values(key, last, before) if found.startswith(last))
        return
    end = "" if prefix == "~" else "="
    groups = [*_CHOSEN, "engine", *(group for group in EXPERIMENTS if experiment_files(group))]
    names = [*groups, *(f"train/{home}" for home in HOMES), *_axes()]
    yield from (f"{prefix}{name}{end}" for name in names if name.startswith(rest))
    yield from (f"{prefix}{name}" for name in _HYDRAS if name.startswith(rest) and rest)
    for found in CompletionPlugin._get_matches(_configuration(before), rest):
        yield f"{prefix}{found}"


def _axes() -> list[str]:
    return sorted({*members("axis"), *users_files("axis")})


def _values(key: str, begun: str, before: Sequence[str]) -> Iterator[str]:
    """Yield what the value of a key may be, as far as that is names."""
    dotted = key.replace("/", ".")
    if key in EXPERIMENTS:
        yield from experiment_files(key)
    elif key in (*_CHOSEN, "engine"):
        yield from members(key)
        if key == "data":
            yield from (path for path in _files(begun) if begun.startswith((".", "/", "~")))
    elif key in members("axis"):
        axis = members("axis")[key]
        yield from (str(choice) for choice in axis.get("choices", ()))
        yield from (part for part in str(axis.get("example", "")).split(",") if part and "[" not in part)
    elif dotted.rpartition(".")[2] in FIELDS:
        yield from members(FIELDS[dotted.rpartition(".")[2]])
    elif key.startswith("hydra/"):
        yield from _of_hydra(key)
    elif begun.startswith((".", "/", "~")) or key.endswith((".root", ".weights", ".artifacts")):
        yield from _files(begun)
    else:
        matches = CompletionPlugin._get_matches(_configuration(before), f"{key}=")
        yield from (str(match).partition("=")[2] for match in matches)


def _of_hydra(group: str) -> Iterator[str]:
    """Yield the members of one of Hydra's groups: its own, those of plugins, those of the user's."""
    from hydra.core.global_hydra import GlobalHydra  # here, because it looks for plugins

    from effbench.config.hydra_session import hydra_session
    from effbench.config.search_path import search_path

    with hydra_session(search_path()):
        yield from GlobalHydra.instance().config_loader().get_group_options(group)


def _files(begun: str) -> list[str]:
    """Return the paths that a beginning may become; a folder's ends with a slash."""
    folder, _, name = os.path.expanduser(begun).rpartition("/")
    place = folder or ("/" if begun.startswith("/") else ".")
    written = begun[: len(begun) - len(name)]
    try:
        found = sorted(os.scandir(place), key=lambda entry: entry.name)
    except OSError:
        return []
    shown = [entry for entry in found if entry.name.startswith(name) and (name or not entry.name.startswith("."))]
    return [f"{written}{entry.name}{'/' if entry.is_dir() else ''}" for entry in shown]


def _configuration(words: Sequence[str]) -> Any:
    """Return the configuration of a line, put together from files: with the members that its words choose."""
    path = conf_folder() / f"{PRIMARY}.yaml"
    node: dict[str, Any] = dict(read_yaml(path, str(path)))
    defaults = [entry for entry in node.pop("defaults") if isinstance(entry, Mapping)]
    chosen = {str(group): str(name) for entry in defaults for group, name in entry.items()}
    asked = dict(w.lstrip("+").split("=", 1) for w in words if "=" in w and not w.startswith("-"))
    task = members("task").get(asked.get("task", ""), {})
    chosen |= {group: str(task[group]) for group in ("model", "data") if group in task}
    for group in _CHOSEN:
        known = members(group)
        name = asked.get(group, chosen.get(group, "")).partition(",")[0]
        node[group] = known.get(name, {})
    return OmegaConf.create({**node, "stage": dict(members("stage")), "engine": dict(members("engine"))})
