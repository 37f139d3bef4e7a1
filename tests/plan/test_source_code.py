"""Which sources of a user tell one version of a network or a stage from another."""

import importlib
import importlib.metadata
import sys
from pathlib import Path

import pytest

import effbench.models
from effbench.models import small_cnn
from effbench.plan import source_code
from effbench.plan.blueprint import Blueprint
from effbench.plan.source_code import is_own, source_identity

NETWORK = """
import math
from torch import nn
import users_layers
from effbench.models import small_cnn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, users_layers.WIDTH))
"""
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
    source_code._reached.cache_clear()


def identity_of(target):
    """Return the identity of a target as another process would find it."""
    source_code._reached.cache_clear()
    module, _, name = target.rpartition(".")
    return source_identity(getattr(importlib.import_module(module), name))


def is_told_after_editing(folder, target, edited):
    before = identity_of(target)
    with (folder / edited).open("a") as file:
        file.write("\n# edited\n")
    return identity_of(target) != before


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
        source_code._reached.cache_clear()
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
    read, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or read_bytes(path))
    assert "effbench" not in identity_of("users_network.net")["packages"]
    assert {path.name for path in read} == {"users_network.py", "users_layers.py", "users_sizes.py"}
    assert source_code._user_file("effbench.models.small") is None


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
