"""Files, the sweeper's parameters and the command in one list, later ones before earlier ones."""

import pytest

from effbench.config.hydra_session import hydra_session
from effbench.config.layers import layers_of
from effbench.config.members import declared_axes
from effbench.config.search_path import Folder, SearchPath, searching


@pytest.fixture
def layers(own_folder):
    """Return what reads arguments, with a file of defaults and an experiment."""
    folder = own_folder(
        {
            "mine.yaml": "defaults: [config, _self_]\nhydra: {sweeper: {params: {bits: '8,4'}}, verbose: true}\n",
            "experiment/e.yaml": "# @package _global_\nprune: [0.1, 0.2]\nbits: 2\ntolerance: 0.1\n",
        }
    )
    path = SearchPath(folders=(Folder(folder, "conf_mine"),), primary="mine")

    def read(*arguments):
        with searching(path), hydra_session(path):
            return layers_of(arguments, declared_axes())

    return read


def test_later_ones_go_before_earlier_ones(layers):
    found = layers("+experiment=e", "hydra.sweeper.params.prune=0.5", "tolerance=0.3")
    assert {o.key_or_group: (o.input_line or "").partition("=")[2] for o in found.overrides} == {
        "hydra.verbose": "true",
        "bits": "8,4",
        "prune": "0.5",
        "tolerance": "0.3",
    }


def test_what_is_wrong_with_a_key_of_a_file_names_the_file(layers):
    found = layers("+experiment=e", "tolerance=0.3")
    with pytest.raises(ValueError, match=r"^conf_mine/experiment/e\.yaml: prune=0\.1: no$"), found.naming_files():
        raise ValueError("prune=0.1: no")
    with pytest.raises(ValueError, match=r"^tolerance=0\.3: no$"), found.naming_files():
        raise ValueError("tolerance=0.3: no")
    with pytest.raises(ValueError, match=r"^conf_mine/mine\.yaml: hydra\.verbose: no$"), found.naming_files():
        raise ValueError("hydra.verbose: no")
