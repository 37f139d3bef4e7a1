"""Engines are found by their names; what is one has a name, prepare and synchronise."""

from pathlib import Path

import pytest
import torch

import effbench.measure.engines
from effbench.measure.engine import (
    Engine,
    Prepared,
    engine_names,
    evaluates_as_runs_do,
    find_engine,
    prepared_bytes,
)
from effbench.measure.engines.compile import CompileEngine
from effbench.measure.engines.eager import EagerEngine


def test_their_names_are_those_of_the_files():
    folder = Path(effbench.measure.engines.__file__).parent
    assert engine_names() == tuple(sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__"))
    assert "eager" in engine_names()


def test_one_is_found_by_its_name_with_its_default_options():
    assert find_engine("eager") == EagerEngine()
    assert isinstance(find_engine("eager"), Engine)


@pytest.mark.parametrize("name", ["warp", "", "Eager", "engine"])
def test_an_unknown_name_gets_those_there_are(name):
    with pytest.raises(ValueError, match=rf"^unknown engine '{name}'; there are: .*eager"):
        find_engine(name)


def test_what_lacks_a_part_is_none():
    class Half:
        name = "half"

        def prepare(self, model, example_input, /, *, threads):
            return lambda: None

    assert not isinstance(Half(), Engine)


def test_what_an_engine_holds_is_the_tensors_and_the_input_unless_it_says_so():
    class Doubling:
        def prepared_bytes(self, model, example_input):
            return 2 * example_input.nbytes

    model, values = torch.nn.Linear(3, 2), torch.zeros(4, 3)
    assert prepared_bytes(find_engine("eager"), model, values) == 4 * (3 * 2 + 2) + 4 * 12
    assert prepared_bytes(Doubling(), model, values) == 96


def test_a_prepared_network_runs_its_example_and_tells_nothing_that_is_not_known():
    prepared = Prepared(run=lambda: "ran", outputs=lambda images: images)
    assert prepared() == prepared.run() == "ran"
    assert (prepared.n_bytes, prepared.download_bytes, prepared.int8_weights, prepared.notes) == (None, None, None, ())


def test_the_engine_in_which_runs_are_evaluated_has_their_quality():
    assert evaluates_as_runs_do(EagerEngine())
    assert not evaluates_as_runs_do(CompileEngine())
