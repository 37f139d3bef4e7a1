"""What engines' libraries take is told once a sweep, and kept."""

import pytest

from effbench.config.read import read_sweep
from effbench.measure.footprint import Footprint
from effbench.sweep import libraries
from effbench.sweep.libraries import library_lines


@pytest.fixture
def asked(monkeypatch):
    """Have every library take 69 MB; return which were asked for."""
    asked = []

    def footprint_of(library):
        asked.append(library.distribution)
        return Footprint(library_bytes=69_000_000, load_seconds=0.211)

    monkeypatch.setattr(libraries, "footprint_of", footprint_of)
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

    monkeypatch.setattr(libraries, "footprint_of", fails)
    sweep = read_sweep(["engine=compile"])
    for _ in range(2):
        assert library_lines(sweep, store) == [
            "engine=compile: what its library takes is not known: torch can't be loaded: 3"
        ]
