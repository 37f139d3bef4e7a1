"""The locks: what pyproject.toml asks for is pinned, within its ranges, and each package in one place."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name):
    lines = (ROOT / name).read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {canonicalize_name(package): version for package, version in pairs}


DEMO, DEV = pins("requirements.lock"), pins("requirements-dev.lock")
EXTRAS = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_what_effbench_needs_is_in_the_demos_lock(requirement):
    needed = Requirement(requirement)
    assert needed.specifier.contains(DEMO[canonicalize_name(needed.name)])


@pytest.mark.parametrize("requirement", sorted({line for line in EXTRAS if not line.startswith("effbench")}))
def test_what_extras_and_tests_need_is_in_one_of_the_locks(requirement):
    needed = Requirement(requirement)
    assert needed.specifier.contains({**DEMO, **DEV}[canonicalize_name(needed.name)])


def test_no_package_is_pinned_twice_and_the_demo_has_none_of_the_tests():
    assert not DEMO.keys() & DEV.keys()
    assert (ROOT / "requirements-dev.lock").read_text().count("-r requirements.lock") == 1
    assert not DEMO.keys() & {"pytest", "mypy", "ruff", "jupyterlab", "ray", "timm", "transformers", "hypothesis"}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_holds_exact_versions_and_no_address(name):
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+|-r requirements\.lock", line) for line in lines)


def test_every_extra_that_a_user_may_ask_for_is_among_what_is_tested():
    everything = Requirement(next(line for line in EXTRAS if line.startswith("effbench"))).extras
    assert everything == PROJECT["optional-dependencies"].keys() - {"dev"}


def test_the_citation_names_this_version():
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()
