"""What a dotted name stands for is found without calling anything, whatever its module does when it is imported."""

import os
import signal
import sys

import pytest

from effbench.plan.targets import find_target


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return what writes a module of the test's own: module(source) -> its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source):
        name = f"module_{len(list(tmp_path.iterdir()))}_of_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield write
    for name in [name for name in sys.modules if name.endswith(f"_of_{tmp_path.name}")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "name", [None, 3, ["a"], {"a": 1}, "", "net", ".net", "a..b", "a.b.", "a b.c", "a\x1b[0m.b", "a.1"]
)
def test_what_is_no_dotted_name_is_refused(name):
    with pytest.raises(ValueError, match=r"^_target_=.*: must be a dotted name"):
        find_target(name)


@pytest.mark.parametrize(
    "name", ["os.system", "os.abort", "sys.exit", "builtins.print", "subprocess.run", "antigravity.x"]
)
def test_what_python_brings_along_is_not_even_imported(name):
    with pytest.raises(ValueError, match="is a part of Python itself"):
        find_target(name)
    assert "antigravity" not in sys.modules


ALIASES = """
import functools, os, shutil
from os import system
from shutil import rmtree
partly = functools.partial(os.system, "true")
number = 3
class Own: ...
own = lambda: None
"""


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("system", "is no function or class written in Python"),
        ("partly", "is no function or class written in Python"),
        ("rmtree", "is a part of Python itself"),
        ("os", "is a module"),
        ("number", "is not callable"),
        ("nothing", "can't be imported"),
    ],
)
def test_another_name_for_it_does_not_help(module, attribute, reason):
    name = module(ALIASES)
    with pytest.raises(ValueError, match=reason):
        find_target(f"{name}.{attribute}")
    for own in ("Own", "own"):
        assert callable(find_target(f"{name}.{own}"))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("print('noise'); raise SystemExit(0)", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise KeyError('lost')", "KeyError: 'lost'"),
        ("import not_there", "No module named 'not_there'"),
        ("x = (", "SyntaxError"),
        ("def __getattr__(name): raise RuntimeError('no')", "RuntimeError: no"),
        ("import sys; print('noise', file=sys.stderr); net = 3", "is not callable"),
    ],
)
def test_a_module_that_does_something_else_than_to_define_is_one_line(module, source, reason, capsys):
    with pytest.raises(ValueError) as caught:
        find_target(f"{module(source)}.net")
    assert reason in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert capsys.readouterr() == ("", "")


def test_what_a_good_module_prints_is_not_lost(module, capsys):
    find_target(f"{module('print(123)' + chr(10) + 'def net(): ...')}.net")
    assert capsys.readouterr() == ("", "123\n")


def test_ctrl_c_while_a_module_is_imported_stays_ctrl_c(module):
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            find_target(f"{module(f'import os; os.kill({os.getpid()}, {int(signal.SIGINT)})')}.net")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, heeded)


def test_a_module_of_the_users_own_may_have_a_name_of_pythons(tmp_path, monkeypatch):
    (tmp_path / "this.py").write_text("def net(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "this", raising=False)
    assert find_target("this.net").__name__ == "net"
    del sys.modules["this"]
