"""What LiteRT's interpreter runs: nothing of effbench, request by request."""

import ast
import io
import json
import sys
from pathlib import Path

from effbench.measure import litert_child


def test_the_script_imports_nothing_of_effbench():
    tree = ast.parse(Path(litert_child.__file__).read_text())
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names) | {"numpy"}


def test_it_serves_until_it_is_told_to_quit(monkeypatch):
    monkeypatch.setattr(litert_child.gc, "disable", lambda: None)
    lines = [{"command": "time", "model": 1}, {"command": "fly"}, {"command": "quit"}, {"command": "time", "model": 1}]
    answers = io.StringIO()
    litert_child.serve(io.StringIO("".join(json.dumps(line) + "\n" for line in lines)), answers)
    told = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert told == [{"error": "KeyError: 1"}, {"error": "KeyError: 'fly'"}]


def test_no_module_beside_it_has_the_name_of_one_of_pythons_own():
    """Its folder is the first in which a script looks for modules: torch would import ours in the place of Python's."""
    beside = {path.stem for path in Path(litert_child.__file__).parent.glob("*.py")}
    assert "layer_profile" in beside
    assert not beside & sys.stdlib_module_names
