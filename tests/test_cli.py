"""The command `effbench`: each word is the door of that name; what is no word is told in a line."""

import subprocess
import sys

import pytest

from effbench.cli import COMMANDS, HELP, main


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Return what runs the command in this process: run(*arguments) -> (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def do(*arguments):
        monkeypatch.setattr(sys, "argv", ["effbench", *arguments])
        status = main()
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return do


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"]])
def test_help_is_a_page(run, arguments):
    assert run(*arguments) == (0, f"{HELP}\n", "")


def test_version(run):
    for arguments in (["--version"], ["-V"], ["version"], *([name, "--version"] for name in COMMANDS)):
        status, out, err = run(*arguments)
        assert (status, err) == (0, "")
        assert out.startswith("effbench 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["swep"], "swep: there is no such command; did you mean effbench sweep?"),
        (["+prune=0.5", "+bits=4"], "did you mean effbench sweep +prune=0.5 +bits=4?"),
        (["--config-dir", "conf"], "did you mean effbench sweep --config-dir conf?"),
        (["tracking.uri=http://me:hunter2@there"], "did you mean effbench sweep tracking.uri=http://me:***@there?"),
        (
            ["--verbose"],
            "--verbose: there is no such command; "
            "there are: sweep, store, profile, latency, export, report, replay, new",
        ),
        ([""], ": there is no such command"),
    ],
)
def test_what_is_no_command_is_told_in_a_line(run, arguments, message):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.startswith("effbench: ")
    assert len(err.splitlines()) == 1


def test_each_command_is_its_door_with_the_arguments_behind_it(run, monkeypatch):
    class EndedError(Exception):
        pass

    def sweep(*, first):
        raise EndedError(sys.argv[first:])

    monkeypatch.setattr("effbench.sweep.__main__.command", sweep)
    with pytest.raises(EndedError, match=r"\['prune=0.5', '--help'\]"):
        run("sweep", "prune=0.5", "--help")
    assert run("store", "--help")[1].startswith("python -m effbench.store")
    assert run("store", "clear=nope")[0] == 2
    assert run("new", "model", "1x")[0] == 2
    assert run("replay", "--help")[1].startswith("python -m effbench.replay")
    assert "run: must be given" in run("replay")[2]


def test_modules_in_the_working_folder_are_found_as_by_python_m(run, tmp_path):
    run("store")
    assert sys.path[0] == str(tmp_path)
    program = "import sys; from effbench.cli import main; sys.argv = ['effbench', 'store']; main(); print(sys.path[0])"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] != str(tmp_path)


def test_help_imports_nothing_heavy():
    heavy = ("torch", "numpy", "hydra", "mlflow", "pandas")
    program = (
        f"import sys; from effbench.cli import main; main(); print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
