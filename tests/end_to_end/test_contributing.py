"""What CONTRIBUTING.md says of adding one's own from outside: its files and its commands, as they stand."""

import re
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
SECTION = PAGE.read_text(encoding="utf-8").partition("## Your own, from outside\n")[2].partition("\n## ")[0]
LAUNCHED = PAGE.read_text(encoding="utf-8").partition("## From laptop to cluster")[2].partition("\n## ")[0]


@pytest.fixture
def written(folder, monkeypatch):
    """Write the section's files into the working folder."""
    for text in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", SECTION, flags=re.DOTALL):
        path = folder.path / text[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text[1])
    monkeypatch.syspath_prepend(folder.path)
    return folder


def test_its_commands_run(written, sweep):
    commands = re.findall(r"```console\n\$ effbench sweep (.*?)\n```", SECTION)
    assert len(commands) == 4
    tables = []
    for number, command in enumerate(commands):
        status, out, err = sweep(command if number % 2 else f"{command} dry_run=true")
        assert (status, err) == (0, ""), command
        assert ("size_bytes:" if number % 2 else "3 to run") in out
        tables += sorted(set(written.path.glob(".effbench/sweeps/*/table.csv")) - set(tables))
    assert [set(pd.read_csv(table).iloc[:, 0]) for table in tables] == [{64, 32, 8}, {0, 7, 3}]
    assert (
        sweep("--config-dir conf_mine data=spots model=perceptron recipe=coarse_first +coarsen=3 dry_run=true")[0] == 0
    )


def test_every_file_that_it_shows_is_named():
    assert (
        len(re.findall(r"^```(?:python|yaml)\n# (?:my_\w+\.py|conf_mine/\w+/\w+\.yaml)\n", SECTION, re.MULTILINE)) == 9
    )


def test_three_commands_lead_to_a_cluster(sweep):
    """Each is the same sweep, to be run by something else; the tests of run/ and config/ run such jobs."""
    commands = re.findall(r"^\$ effbench sweep (.*)$", LAUNCHED, re.MULTILINE)
    assert [re.findall(r"hydra/launcher=(\w+)", command) for command in commands] == [[], ["submitit_local"], ["ray"]]
    assert len({command.partition(" hydra")[0] for command in commands}) == 1
    for extra, command in zip((None, "submitit", "ray"), commands, strict=True):
        status, out, err = sweep(f"{command} dry_run=true")
        if extra is None or find_spec(extra) is not None:
            assert (status, err) == (0, "") and "8 to run" in out
        else:
            assert status == 2 and err.endswith(f"is not installed; pip install 'effbench[{extra}]'\n")
