"""The versions of what timed a run; what engines' libraries take, told once a sweep and kept."""

from importlib.metadata import version

import pytest

from effbench.config.read import read_sweep
from effbench.measure.footprint import Footprint
from effbench.sweep import engine_facts
from effbench.sweep.engine_facts import library_lines, version_tags


@pytest.fixture
def asked(monkeypatch):
    """Have every library take 69 MB; return which were asked for."""
    asked = []

    def footprint_of(library):
        asked.append(library.distribution)
        return Footprint(library_bytes=69_000_000, load_seconds=0.211)

    monkeypatch.setattr(engine_facts, "footprint_of", footprint_of)
    return asked


def test_of_engines_with_a_library_of_their_own_it_is_told_and_kept(asked, store):
    sweep = read_sweep(["engine=eager,compile"])
    told = ["engine=compile: its library (torch) takes 69 MB on disk here, and 0.21 s to be loaded by Python"]
    assert library_lines(sweep, store) == told and asked == ["torch"]
    assert library_lines(sweep, store) == told and asked == ["torch"]
    assert library_lines(read_sweep([]), store) == []


def test_one_that_can_not_be_loaded_is_told_of_and_asked_again(monkeypatch, store):
    def fails(library):
        raise ValueError("torch can't be loaded: 3")

    monkeypatch.setattr(engine_facts, "footprint_of", fails)
    sweep = read_sweep(["engine=compile"])
    for _ in range(2):
        assert library_lines(sweep, store) == [
            "engine=compile: what its library takes is not known: torch can't be loaded: 3"
        ]


def test_what_was_timed_says_the_versions_of_what_timed_it():
    sweep = read_sweep(["engine=eager,compile"])
    both, one = {"latency_ms/eager": 1.0, "latency_ms/compile.b8.t2": 1.0}, {"latency_ms/eager": 1.0, "accuracy": 1.0}
    tags = version_tags(sweep, {"a": both, "b": one, "c": {"accuracy": 1.0}})
    said = f"torch {version('torch')}"
    assert tags == {
        "a": {"effbench.engine/eager": said, "effbench.engine/compile": said},
        "b": {"effbench.engine/eager": said},
    }
