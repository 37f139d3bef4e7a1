"""What a source imports, read from its text."""

import pytest

from effbench.plan.imports import Imports, imports_of


def imports(text, module="kit.net", *, is_package=False):
    return imports_of(text if isinstance(text, bytes) else text.encode(), module, is_package=is_package)


@pytest.mark.parametrize(
    ("statement", "certain", "possible"),
    [
        ("import a", {"a"}, set()),
        ("import a.b as c, d", {"a.b", "d"}, set()),
        ("from a import b, c as d", {"a"}, {"a.b", "a.c"}),
        ("from . import x", {"kit"}, {"kit.x"}),
        ("from .x import y", {"kit.x"}, {"kit.x.y"}),
        ("def f():\n    import a\n", {"a"}, set()),
        ("try:\n    import a\nexcept ImportError:\n    import b as a\n", {"a", "b"}, set()),
        ("if TYPE_CHECKING:\n    import a\n", {"a"}, set()),
        ("import importlib\nimportlib.import_module('a.b')", {"importlib", "a.b"}, set()),
        ("import_module('.x', 'kit.parts')", {"kit.parts.x"}, set()),
        ("import_module('..x', __package__)", {"x"}, set()),
        ("__import__('a')", {"a"}, set()),
        ("pkgutil.resolve_name('a.b:c')", {"a.b"}, set()),
        ("print('a.b')", set(), set()),
    ],
)
def test_statements(statement, certain, possible):
    found = imports(statement)
    assert (found.certain, found.possible) == (certain, possible)


def test_relative_names_within_a_package():
    found = imports("from ..a import b\nfrom . import c", "kit.parts", is_package=True)
    assert found.certain == {"kit.a", "kit.parts"}
    assert found.possible == {"kit.a.b", "kit.parts.c"}


def test_a_star_brings_what_is_public():
    assert imports("from a import *").stars == {"a"}
    text = "__all__ = ['x', 'y']\n__all__ += ['z']\nother = ['w']"
    assert imports(text).public == {"x", "y", "z"}


@pytest.mark.parametrize(
    "name", ["f'nets.{name}'", "'nets.' + name", "'nets.%s' % name", "'nets.{}'.format(name)", "'nets.' + a + b"]
)
def test_of_a_name_that_only_begins_as_text_the_package_is_known(name):
    assert imports(f"importlib.import_module({name})").families == {"nets"}
    assert imports("importlib.import_module(name)").families == set()


def test_texts_of_a_module_that_loads_others_lazily_may_be_modules():
    lazy = "HOMES = {'net': 'impl', 'other': '.far', 'third': 'a.b'}\ndef __getattr__(name):\n    ...\n"
    assert {"kit.impl", "kit.far", "a.b"} <= imports(lazy, "kit", is_package=True).possible
    assert not imports(lazy.replace("__getattr__", "get"), "kit", is_package=True).possible
    attached = "__getattr__, *_ = lazy_loader.attach(__name__, ['impl'])"
    assert "kit.impl" in imports(attached, "kit", is_package=True).possible


@pytest.mark.parametrize("text", ["def f(:", b"a\0b", b"\xff\xfe\xff", b"# coding: nonsense\nimport a"])
def test_what_python_can_not_read_imports_nothing(text):
    assert imports(text) == Imports()


@pytest.mark.parametrize("text", ["# coding: latin-1\nimport a # \xe9".encode("latin-1"), b"\xef\xbb\xbfimport a"])
def test_any_encoding_of_python(text):
    assert imports(text).certain == {"a"}


def test_nothing_is_said_about_a_strange_text():
    assert imports(r'import a; b = "\d"').certain == {"a"}  # pytest makes warnings errors
