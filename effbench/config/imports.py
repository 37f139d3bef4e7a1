"""imports=my_module: modules of the user's, imported before anything is composed: where resolvers are registered.

A program that calls `run_sweep` registers them itself; a command has no other place where it could.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence

from effbench.checks.errors import kind_and_line
from effbench.config.overrides import flat, parse, values_of
from effbench.config.search_path import PRIMARY, primary_file, search_path
from effbench.config.yaml_files import read_yaml

KEY = "imports"


def import_first(arguments: Sequence[str], /) -> list[str]:
    """Import what `imports=` names, in the command or the file of --config-name; returns the other arguments.

    ValueError, in one line, for a module that can't be imported.
    """
    asked = [argument for argument in arguments if re.match(rf"\+{{0,2}}{KEY}=", argument)]
    names: list[tuple[object, str]] = []
    if search_path().primary != PRIMARY:
        path, shown = primary_file()
        names += [(name, f"{shown}: {KEY}") for name in flat([read_yaml(path, shown).get(KEY) or []])]
    for override in parse(asked):
        names += [(name, KEY) for name in flat(values_of(override))]
    for name, where in names:
        _import(name, where)
    return [argument for argument in arguments if argument not in asked]


def _import(name: object, where: str) -> None:
    if not isinstance(name, str) or not all(map(str.isidentifier, name.split("."))):
        raise ValueError(f"{where}={name}: must be a module, or a list of them, as in {KEY}=my_module")
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever the module itself raises
        raise ValueError(f"{where}={name}: can't be imported: {kind_and_line(error)}") from None
