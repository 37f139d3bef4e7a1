"""The help page names every axis and every choice there is."""

import pytest

from effbench.config.command_line import conf_folder, declared_axes
from effbench.config.help import help_page
from effbench.sweep.__main__ import main


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_the_help_page_names_every_axis_and_every_choice(option, capsys):
    assert main(["prune=0.5", option]) == 0
    page = capsys.readouterr().out
    for axis in declared_axes().values():
        assert f"  {axis.name}={axis.example}" in page
        assert axis.help in page
        assert axis.allowed() in page
    for group in ("task", "model", "data", "recipe", "engine", "train", "optimizer", "scheduler", "loss", "augment"):
        for path in (conf_folder() / group).glob("*.yaml"):
            assert path.stem in page
    assert page.strip() == help_page().strip()


def test_its_examples_can_be_read():
    from effbench.config.command_line import read_command_line

    lines = [line.split("effbench.sweep ")[1] for line in help_page().splitlines() if line.startswith("  python -m")]
    assert len(lines) >= 3
    for line in lines:
        assert read_command_line(line.split()).axis_values
