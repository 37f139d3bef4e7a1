"""Which sources of a user tell one version of a network or a stage from another."""

import importlib
import importlib.metadata
import linecache
import sys
import types
from pathlib import Path

import pytest

import effbench.models
from effbench.models import small_cnn
from effbench.plan import source_code
from effbench.plan.blueprint import Blueprint
from effbench.plan.modules import UserModule
from effbench.plan.source_code import is_own, source_identity, sources_as_loaded

NETWORK = """
import math
from torch import nn
import users_layers
from effbench.models import small_cnn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, users_layers.WIDTH))
"""
LAZY = """
HOMES = {"net": "users_lazy.impl"}

def __getattr__(name):
    import importlib
    return getattr(importlib.import_module(HOMES[name]), name)
"""
TOOLS = """
import functools
import users_tools_deep

def sized(width, depth=1):
    return width * depth

def decorated(function):
    def inner():
        return function()
    return inner

def wrapped(function):
    @functools.wraps(function)
    def inner(**options):
        return function(**options)
    return inner

class Factory:
    def __init__(self, width):
        self.width = width

    def __call__(self):
        return self.width

class Base:
    pass
"""
MADE = """
import functools
import users_tools
from effbench.models import small_cnn

small = functools.partial(users_tools.sized, 8)
large = functools.partial(users_tools.sized, 9)
one = lambda: 1
two = lambda: 2
first = users_tools.decorated(lambda: 1)
second = users_tools.decorated(lambda: 2)
third = users_tools.Factory(3)
fourth = users_tools.Factory(4)
around = users_tools.wrapped(small_cnn)
alpha = functools.partial(small_cnn, alpha=0.5)
sized = users_tools.sized

class Net(users_tools.Base):
    pass

def late():
    import importlib
    return importlib.import_module("users_tools").sized(1)

def late_in_package(name):
    import importlib
    return importlib.import_module(f"users_shop.{name}")

def star():
    return 1
"""
MADE_NAMES = ("small", "first", "third", "around", "alpha", "sized", "Net", "late", "one")
FILES = {
    "users_network.py": NETWORK,
    "users_layers.py": "from users_sizes import WIDTH\n",
    "users_sizes.py": "WIDTH = 10\n",
    "users_other.py": "import users_network\n",
    "users_kit/__init__.py": "",
    "users_kit/net.py": "from .parts import block\nfrom . import sizes\n\ndef net():\n    return block(sizes.N)\n",
    "users_kit/parts/__init__.py": "from ..deep import block\n",
    "users_kit/deep.py": "def block(n):\n    return n\n",
    "users_kit/sizes.py": "N = 3\n",
    "users_kit/unused.py": "M = 3\n",
    "users_shop/__init__.py": "from .impl import net\n",
    "users_shop/impl.py": "def net():\n    return 1\n",
    "users_shop/plain.py": "def net():\n    return 1\n",
    "users_public/__init__.py": "__all__ = ['sizes']\n",
    "users_public/sizes.py": "N = 3\n",
    "users_lazy/__init__.py": LAZY,
    "users_lazy/impl.py": "def net():\n    return 1\n",
    "users_loop.py": "import users_pool\n\ndef net():\n    return 1\n",
    "users_pool.py": "import users_loop\n",
    "users_made.py": MADE,
    "users_tools.py": TOOLS,
    "users_tools_deep.py": "N = 3\n",
    "users_space/net.py": "import users_space.sizes\n\ndef net():\n    return users_space.sizes.N\n",
    "users_space/sizes.py": "N = 3\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder of a user's modules that can be imported; nothing of them is remembered afterwards."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("users_")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def identity_of(target):
    """Return the identity of a target, which is found under that name."""
    module, _, name = target.rpartition(".")
    return source_identity(getattr(importlib.import_module(module), name), named=target)


def is_told_after_editing(folder, target, edited):
    before = identity_of(target)
    with (folder / edited).open("a") as file:
        file.write("\n# edited\n")
    return identity_of(target) != before


@pytest.mark.matrix(fast=7)
@pytest.mark.parametrize(
    ("target", "edited", "is_told"),
    [
        ("users_network.net", "users_network.py", True),
        ("users_network.net", "users_layers.py", True),
        ("users_network.net", "users_sizes.py", True),  # which one of its imports imports
        ("users_network.net", "users_other.py", False),
        ("users_kit.net.net", "users_kit/net.py", True),
        ("users_kit.net.net", "users_kit/__init__.py", True),
        ("users_kit.net.net", "users_kit/parts/__init__.py", True),
        ("users_kit.net.net", "users_kit/deep.py", True),
        ("users_kit.net.net", "users_kit/sizes.py", True),  # a module by `from . import`
        ("users_kit.net.net", "users_kit/unused.py", False),
        ("users_space.net.net", "users_space/sizes.py", True),  # of a package without __init__
        ("users_shop.net", "users_shop/impl.py", True),  # defined elsewhere than named
        ("users_shop.net", "users_shop/__init__.py", True),
        ("users_shop.plain.net", "users_shop/__init__.py", True),  # importing a module runs its package
        ("users_shop.plain.net", "users_shop/impl.py", True),
        ("users_lazy.net", "users_lazy/impl.py", True),
        ("users_loop.net", "users_pool.py", True),  # in a circle
        *((f"users_made.{name}", "users_made.py", True) for name in MADE_NAMES),
        *((f"users_made.{name}", "users_tools.py", True) for name in MADE_NAMES),
        *((f"users_made.{name}", "users_tools_deep.py", True) for name in MADE_NAMES),
        ("users_made.late_in_package", "users_shop/plain.py", True),
        ("users_made.one", "users_sizes.py", False),
    ],
)
def test_an_edited_module_is_told_where_the_target_reaches_it(folder, target, edited, is_told):
    assert is_told_after_editing(folder, target, edited) is is_told


def test_the_key_of_a_network_is_another_when_a_module_it_imports_was_edited(folder, make_chain):
    keys = []
    for edited in (None, "users_sizes.py", "users_other.py"):
        if edited is not None:
            with (folder / edited).open("a") as file:
                file.write("\n# edited\n")
        keys.append(make_chain(network=Blueprint("users_network.net")).key)
    assert keys[0] != keys[1]
    assert keys[1] == keys[2]


def test_the_same_sources_in_another_folder_are_the_same(folder, tmp_path_factory, monkeypatch):
    before = identity_of("users_network.net")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name, text in FILES.items():
        path = elsewhere / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in [name for name in sys.modules if name.startswith("users_")]:
        del sys.modules[name]
    monkeypatch.syspath_prepend(elsewhere)
    assert identity_of("users_network.net") == before
    assert Path(sys.modules["users_network"].__file__).parent == elsewhere


def test_a_package_is_known_by_its_version(folder, monkeypatch):
    identity = identity_of("users_network.net")
    assert identity["packages"] == {"torch": importlib.metadata.version("torch")}
    assert identity["module"] == "users_network"
    assert identity["name"] == "net"
    source_code._kept.clear()
    version = source_code.version
    monkeypatch.setattr(source_code, "version", lambda name: "99" if name == "torch" else version(name))
    assert identity_of("users_network.net")["packages"] == {"torch": "99"}


def test_of_what_lies_in_a_package_only_the_version_counts():
    identity = identity_of("torch.nn.Linear")
    assert identity["packages"].keys() == {"torch"}
    assert identity["sources"] == identity_of("torch.nn.Conv2d")["sources"]
    assert identity != identity_of("torch.nn.Conv2d")


def test_no_file_of_effbench_is_looked_into(folder, monkeypatch):
    """Editing effbench, which has its VERSIONs, changes no key of a user's network."""
    read, content = [], UserModule.content
    monkeypatch.setattr(UserModule, "content", lambda module: read.append(module.name) or content(module))
    assert "effbench" not in identity_of("users_network.net")["packages"]
    assert set(read) == {"users_network", "users_layers", "users_sizes"}


@pytest.mark.parametrize(
    ("one", "other"), [("small", "large"), ("one", "two"), ("first", "second"), ("third", "fourth")]
)
def test_what_bears_no_name_of_its_own_is_told_by_the_one_it_is_asked_for(folder, one, other):
    assert identity_of(f"users_made.{one}") == identity_of(f"users_made.{one}")
    assert identity_of(f"users_made.{one}") != identity_of(f"users_made.{other}")


def test_a_star_reaches_what_the_package_makes_public(folder):
    (folder / "users_starred.py").write_text("from users_public import *\n\ndef net():\n    return sizes.N\n")
    assert is_told_after_editing(folder, "users_starred.net", "users_public/sizes.py")


def test_what_a_user_wraps_around_effbenchs_is_the_users(folder):
    made = importlib.import_module("users_made")
    assert not is_own(made.around)
    assert not is_own(made.alpha)
    assert is_own(made.small_cnn)  # under another name it stays effbench's


def test_an_identity_holds_no_path(folder):
    for name in MADE_NAMES:
        assert str(folder) not in repr(identity_of(f"users_made.{name}"))


def test_the_code_that_is_loaded_is_told_from_its_file(folder):
    """A long-lived process sees the new file, and knows that it still runs the old one until it is reloaded."""
    target = importlib.import_module("users_network").net
    before = source_identity(target)
    (folder / "users_sizes.py").write_text("WIDTH = 12345\n")
    after = source_identity(target)
    with sources_as_loaded():
        assert source_identity(target) == before != after
    importlib.reload(sys.modules["users_sizes"])
    with sources_as_loaded():
        assert source_identity(target) == after


def test_of_what_was_written_in_no_file_the_text_counts(monkeypatch):
    """As in a notebook."""
    identities = []
    for width in (1, 2):
        notebook = types.ModuleType("users_notebook")
        text = f"def net():\n    return {width}\n"
        linecache.cache["<cell>"] = (len(text), None, text.splitlines(True), "<cell>")
        code = compile(text, "<cell>", "exec")
        types.FunctionType(code, notebook.__dict__)()
        monkeypatch.setitem(sys.modules, "users_notebook", notebook)
        identities.append(source_identity(notebook.net))
    del linecache.cache["<cell>"]
    assert identities[0] != identities[1]


def test_hundreds_of_points_read_a_file_once(folder, monkeypatch):
    read, content = [], UserModule.content
    monkeypatch.setattr(UserModule, "content", lambda module: read.append(module.name) or content(module))
    for _ in range(100):
        identity_of("users_network.net")
    assert len(read) < 20


def test_what_is_effbenchs_own():
    assert is_own(small_cnn)
    assert is_own(effbench.models.lenet_5)
    assert not is_own(identity_of)
    assert not is_own(dict)


@pytest.mark.parametrize(
    "statement", ["import users_absent.module", "from users_absent import thing", "import users_broken.module"]
)
def test_an_import_that_is_nowhere_or_fails_is_passed_over(folder, statement):
    (folder / "users_broken").mkdir()
    (folder / "users_broken" / "__init__.py").write_text("raise OSError('a library of the system is missing')\n")
    (folder / "users_late.py").write_text(f"def net():\n    {statement}\n")
    assert identity_of("users_late.net")["name"] == "net"
    assert is_told_after_editing(folder, "users_late.net", "users_late.py")
