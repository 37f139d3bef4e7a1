"""`effbench new`: writes what is not there, overwrites nothing, says what to do next."""

import pytest

from effbench.new import FAILED, WRONG_INPUT, help_page, main


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_what_it_wrote_and_what_tries_it(here, capsys):
    assert main(["model", "my_net"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote my_net.py",
        "wrote conf_mine/model/my_net.yaml",
        "wrote conf_mine/axis/my_net_width.yaml",
        "try it: effbench sweep --config-dir conf_mine model=my_net +my_net_width=4,8",
    ]
    assert main(["stage", "my_stage"]) == 0
    assert main(["recipe", "my_recipe", "--folder", "my conf"]) == 0
    assert "--config-dir 'my conf' recipe=my_recipe" in capsys.readouterr().out
    names = sorted(str(path.relative_to(here)) for path in here.rglob("*.yaml"))
    assert names == [
        *("conf_mine/axis/my_net_width.yaml", "conf_mine/axis/my_stage.yaml", "conf_mine/model/my_net.yaml"),
        *("conf_mine/stage/my_stage.yaml", "my conf/recipe/my_recipe.yaml"),
    ]


@pytest.mark.parametrize("taken", ["my_net.py", "conf_mine/model/my_net.yaml", "conf_mine/axis/my_net_width.yaml"])
def test_nothing_is_overwritten_and_nothing_written_beside_what_is_there(here, taken, capsys):
    (here / taken).parent.mkdir(parents=True, exist_ok=True)
    (here / taken).write_text("mine")
    assert main(["model", "my_net"]) == WRONG_INPUT
    assert capsys.readouterr().err == f"effbench: {taken}: is there already; nothing was written\n"
    assert [path.read_text() for path in here.rglob("*.*")] == ["mine"]


def test_a_link_to_nowhere_is_there_too(here):
    (here / "my_net.py").symlink_to(here / "elsewhere.py")
    assert main(["model", "my_net"]) == WRONG_INPUT
    assert not (here / "elsewhere.py").exists()


def test_what_can_not_be_written_leaves_nothing_behind(here, capsys):
    (here / "conf_mine").write_text("a file")
    assert main(["model", "my_net"]) == FAILED
    assert "conf_mine" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["conf_mine"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model"], "effbench new model: must be a kind and a name, as in effbench new model my_net"),
        (["model", "a", "b"], "effbench new model a b: must be a kind and a name"),
        (["model", "a", "--folder"], "--folder: must be followed by a folder"),
        (["model", "a", '--folder=x"""y'], '--folder=x"""y: its name goes into the files'),
        (["model", "a", "--foldr=x"], "--foldr=x: there is no such option; there is --folder=…"),
        (["network", "a"], "network: there is no such kind; known: data, engine, model, recipe, stage, task"),
    ],
)
def test_wrong_input_is_a_line(here, arguments, message, capsys):
    assert main(arguments) == WRONG_INPUT
    assert capsys.readouterr().err.startswith(f"effbench: {message}")
    assert not list(here.iterdir())


@pytest.mark.parametrize("arguments", [[], ["-h"], ["model", "--help"]])
def test_help(arguments, capsys):
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{help_page()}\n"
