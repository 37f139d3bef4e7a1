"""What files say, as arguments."""

import pytest

from effbench.config.file_arguments import arguments_of_hydra, arguments_of_node, param_text
from effbench.config.overrides import parse, values_of

HYDRA = {
    "callbacks": {"mine": {"_target_": "my.Mine", "n": 3}},
    "sweeper": {"params": {"prune": "0.1,0.5", "+bits": [8, 4], "train.lr": 0.1}},
    "job": {"env_set": {"A": "b c"}, "env_copy": []},
    "mode": "MULTIRUN",
    "verbose": True,
    "output_subdir": None,
    "searchpath": ["x"],
}


def test_hydras_node_is_one_argument_a_key_and_its_sweepers_parameters_are_as_written():
    lines = arguments_of_hydra(HYDRA)
    assert [line for line in lines if "params" in line] == [
        "hydra.sweeper.params.prune=0.1,0.5",
        "hydra.sweeper.params.bits=8,4",
        "hydra.sweeper.params.train.lr=0.1",
    ]
    others = [line for line in lines if "params" not in line]
    assert {o.key_or_group: next(values_of(o)) for o in parse(others)} == {
        "hydra.callbacks.mine._target_": "my.Mine",
        "hydra.callbacks.mine.n": 3,
        "hydra.job.env_set.A": "b c",
        "hydra.job.env_copy": [],
        "hydra.mode": "MULTIRUN",
        "hydra.verbose": True,
        "hydra.output_subdir": None,
    }


def test_keys_beside_it_are_as_from_python():
    assert arguments_of_node({"prune": [0.1], "train": {"epochs": 3}}) == ["prune=0.1", "train.epochs=3"]
    with pytest.raises(ValueError, match="hydra=3: must be keys and values"):
        arguments_of_node({"hydra": 3})


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (False, "false"), (["a", "b c"], '"a","b c"'), (1e-3, "0.001")]
)
def test_values_of_the_sweeper_are_as_on_a_command_line(value, text):
    assert param_text(value) == text
