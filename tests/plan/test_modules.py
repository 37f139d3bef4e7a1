"""Where modules come from: what is the user's own, and what was installed."""

import importlib
import shutil
import sys
import zipfile

import pytest

from effbench.plan import modules
from effbench.plan.modules import distributions_of, find, is_namespace, submodules, user_module


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder of modules that can be imported; nothing of it is remembered afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("users_")]:
        del sys.modules[name]


def forget():
    modules._by_package.cache_clear()
    modules._installed.cache_clear()


def write(path, text="X = 1\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    importlib.invalidate_caches()
    return path


@pytest.mark.parametrize(
    "name", ["math", "sys", "json.decoder", "torch", "torch.nn", "yaml", "effbench.models", "no_such"]
)
def test_others_code_is_not_the_users(name):
    assert user_module(name) is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("users_one.py", "users_one"),
        ("users_kit/__init__.py", "users_kit"),
        ("users_space/deep/net.py", "users_space.deep.net"),  # without any __init__
        ("antigravity.py", "antigravity"),  # as a module of the standard library
    ],
)
def test_a_users_own_is_found_and_not_imported(folder, path, name):
    write(folder / path, "raise SystemExit('was imported')\n")
    found = user_module(name)
    assert found.content().startswith(b"raise")
    assert name not in sys.modules


def test_a_broken_package_around_a_module_is_not_run(folder):
    write(folder / "users_kit" / "__init__.py", "raise SystemExit('was imported')\n")
    write(folder / "users_kit" / "net.py")
    assert user_module("users_kit.net").content() == b"X = 1\n"
    assert user_module("users_kit.absent") is None
    assert user_module("users_kit.net.absent") is None


def test_line_ends_say_nothing(folder):
    write(folder / "users_one.py")
    content = user_module("users_one").content()
    (folder / "users_one.py").write_bytes(b"X = 1\r\n")
    assert user_module("users_one").content() == content


def test_a_module_in_a_zip_file(folder, monkeypatch):
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("users_zipped/__init__.py", "")
        archive.writestr("users_zipped/net.py", "Y = 2\n")
    monkeypatch.syspath_prepend(folder / "all.zip")
    found = user_module("users_zipped.net")
    assert found.content() == b"Y = 2\n"
    assert found.stamp()[0] == str(folder / "all.zip")


def test_something_compiled(folder):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (folder / f"users_fast{suffix}").write_bytes(b"machine code")
    found = user_module("users_fast")
    assert not found.is_source
    content = found.content()
    (folder / f"users_fast{suffix}").write_bytes(b"machine codf")
    assert user_module("users_fast").content() != content


class TestInstalled:
    @pytest.fixture
    def installed(self, folder, monkeypatch):
        """Return a folder like site-packages, in which users_dist is installed and users_loose only lies."""
        site = folder / "lib" / "site-packages"
        write(site / "users_dist" / "__init__.py")
        write(site / "users_loose.py")
        info = site / "users_dist-1.0.dist-info"
        write(info / "METADATA", "Metadata-Version: 2.1\nName: users-dist\nVersion: 1.0\n")
        write(info / "RECORD", "users_dist/__init__.py,,\nusers_dist-1.0.dist-info/RECORD,,\n")
        monkeypatch.syspath_prepend(site)
        forget()
        yield site
        forget()

    @pytest.mark.extended
    def test_what_has_a_version_is_a_package_wherever_it_lies(self, installed):
        assert user_module("users_dist") is None
        assert distributions_of("users_dist") == ["users-dist"]

    @pytest.mark.extended
    def test_what_only_lies_there_is_the_users(self, installed):
        assert user_module("users_loose") is not None

    @pytest.mark.extended
    def test_an_editable_install_is_the_users(self, installed, folder):
        shutil.rmtree(installed / "users_dist")
        write(folder / "src" / "users_dist" / "__init__.py")
        sys.path.insert(0, str(folder / "src"))  # what the installed .pth file does; `syspath_prepend` undoes it
        assert user_module("users_dist") is not None

    @pytest.mark.extended
    def test_a_checkouts_egg_info_makes_it_no_package(self, folder):
        write(folder / "users_kit" / "__init__.py")
        write(folder / "users_kit.egg-info" / "PKG-INFO", "Metadata-Version: 2.1\nName: users-kit\nVersion: 1.0\n")
        write(folder / "users_kit.egg-info" / "top_level.txt", "users_kit\n")
        assert user_module("users_kit") is not None

    def test_a_folder_that_is_only_named_so(self, folder, monkeypatch):
        write(folder / "site-packages" / "users_one.py")
        monkeypatch.syspath_prepend(folder / "site-packages")
        assert user_module("users_one") is not None

    @pytest.mark.extended
    def test_a_link_among_the_packages_to_the_users_folder(self, installed, folder):
        write(folder / "work" / "users_linked" / "__init__.py")
        (installed / "users_linked").symlink_to(folder / "work" / "users_linked")
        assert user_module("users_linked") is not None

    @pytest.mark.extended
    def test_a_package_that_is_linked_from_a_cache(self, installed, folder):
        (installed / "users_dist").rename(folder / "cache")
        (installed / "users_dist").symlink_to(folder / "cache")
        assert user_module("users_dist") is None

    @pytest.mark.extended
    def test_half_of_a_package_of_names(self, installed, folder):
        """One that is split over site-packages and the working folder has the user's modules and others'."""
        (installed / "users_dist" / "__init__.py").rename(installed / "users_dist" / "theirs.py")
        write(installed / "users_dist-1.0.dist-info" / "RECORD", "users_dist/theirs.py,,\n")
        write(folder / "users_dist" / "mine.py")
        assert is_namespace("users_dist")
        assert user_module("users_dist.mine") is not None
        assert user_module("users_dist.theirs") is None


def test_modules_of_a_package(folder):
    for name in ("__init__", "one", "two"):
        write(folder / "users_kit" / f"{name}.py")
    assert submodules("users_kit") == ["users_kit.one", "users_kit.two"]
    assert submodules("no_such") == []


def test_a_module_that_is_imported_is_known_by_itself():
    assert find(__name__) is sys.modules[__name__].__spec__


def test_of_a_name_that_several_distributions_share_all_are_named(monkeypatch):
    monkeypatch.setattr(modules, "_by_package", lambda: {"google": ["protobuf", "google-auth", "protobuf"]})
    assert distributions_of("google") == ["google-auth", "protobuf"]
    assert distributions_of("other") == ["other"]
