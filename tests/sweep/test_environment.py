"""What a run was made with: versions and machine."""

import os
from importlib.metadata import version

import pytest

from effbench.sweep.environment import PACKAGES, describe_environment, describe_machine


@pytest.fixture(autouse=True)
def asked_anew():
    describe_environment.cache_clear()
    describe_machine.cache_clear()
    yield
    describe_environment.cache_clear()
    describe_machine.cache_clear()


def test_versions_and_machine_are_tags():
    tags = describe_environment()
    assert {f"version.{package}" for package in PACKAGES} < set(tags)
    assert tags["version.torch"] == version("torch")
    assert tags["machine"] == describe_machine()
    assert f"{os.cpu_count()} cores" in tags["machine"]
