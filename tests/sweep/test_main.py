"""The command: its exit status, what it says when something can't be, and that nothing starts then."""

import errno
import logging
from types import SimpleNamespace

import pytest

from effbench.run.store import Store
from effbench.sweep.__main__ import FAILED, INTERRUPTED, WRONG_INPUT, main
from effbench.tracking.tracker import TrackingError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def carried_out(monkeypatch):
    """Have a sweep do what the test says, instead of running."""

    def do(what):
        def worked(sweep, use, uri, display, *, shows):
            return SimpleNamespace(is_whole=what() == 0, printout=None, sweep=sweep)

        monkeypatch.setattr("effbench.sweep.work.work", worked)
        monkeypatch.setattr("effbench.sweep.again.keep_answer", lambda *given: None)

    return do


def raising(error):
    def act():
        raise error

    return act


def test_help_is_printed_whatever_else_is_asked_for(capsys, folder):
    assert main(["prune=2", "--help"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("python -m effbench.sweep")
    assert printed.err == ""


def test_wrong_input_is_one_line_and_its_own_status(capsys, folder):
    assert main(["prune=2"]) == WRONG_INPUT == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("effbench: prune=2")
    assert len(printed.err.splitlines()) == 1
    assert not list(folder.iterdir())


def test_a_dry_run_prints_the_plan_and_leaves_nothing(capsys, folder):
    assert main(["prune=0.5,0.9", "dry_run=true"]) == 0
    assert ": 3 runs, 0 kept, 3 to run" in capsys.readouterr().out
    assert not list(folder.iterdir())


def test_the_form_of_an_answer_is_no_part_of_the_sweep(capsys, folder):
    assert main(["prune=0.5,0.9", "--format=csv", "dry_run=true"]) == 0
    printed = capsys.readouterr()
    assert [line.partition(",")[0] for line in printed.out.splitlines()] == [
        "point", "reference", "prune=0.5", "prune=0.9",
    ]  # fmt: skip
    assert printed.err == ""
    assert main(["prune=0.5", "--format", "xml"]) == WRONG_INPUT
    assert capsys.readouterr().err == "effbench: --format=xml: must be table, csv, json or markdown\n"
    assert main(["--help", "--format=json"]) == 0
    assert capsys.readouterr().out.startswith("python -m effbench.sweep")


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("tracking.uri=nonsense", "effbench: tracking.uri=nonsense: must be a server, as in http://"),
        ("store.root=taken", "effbench: store.root=taken: can't be written ("),
        ("tracking.uri=sqlite:///taken/mlflow.db", "effbench: tracking.uri=sqlite:///taken/mlflow.db: taken can't be"),
    ],
)
def test_what_can_not_be_written_is_wrong_input(capsys, folder, argument, message):
    (folder / "taken").write_text("a file")
    assert main(["prune=0.5", argument]) == WRONG_INPUT
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.extended
def test_the_status_is_that_of_the_sweep(carried_out):
    for status in (0, FAILED):
        carried_out(lambda status=status: status)
        assert main(["prune=0.5"]) == status


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TrackingError("tracking.uri=x: can't be used (locked)"), "tracking.uri=x: can't be used (locked); what was"),
        (OSError(errno.ENOSPC, "No space left on device"), "store.root=.effbench: can't be written (No space left on"),
        (
            OSError("the result of x is gone"),
            "the result of x is gone; what was finished is kept, and the same command",
        ),
    ],
)
def test_what_ends_a_sweep_is_told_with_how_to_go_on(carried_out, capsys, error, message):
    carried_out(raising(error))
    assert main(["prune=0.5"]) == FAILED == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"effbench: {message}")
    assert printed.endswith("; what was finished is kept, and the same command goes on from there\n")
    assert len(printed.splitlines()) == 1


def test_ctrl_c_at_any_moment_is_told_as_such(carried_out, capsys, monkeypatch):
    carried_out(raising(KeyboardInterrupt()))
    assert main(["prune=0.5"]) == INTERRUPTED == 130
    assert capsys.readouterr().err == "effbench: interrupted; the same command goes on where this one stopped\n"


def test_a_mistake_of_effbench_itself_is_not_hidden(carried_out):
    carried_out(raising(AssertionError("a mistake")))
    with pytest.raises(AssertionError, match="a mistake"):
        main(["prune=0.5"])


def test_what_killed_sweeps_left_is_cleared_before(carried_out, monkeypatch):
    cleared = []
    monkeypatch.setattr(Store, "clear_unfinished", lambda store: cleared.append(store.root))
    carried_out(lambda: 0 if cleared else FAILED)
    assert main(["prune=0.5"]) == 0
    assert [str(root) for root in cleared] == [".effbench"]


def test_arguments_come_from_the_command_line_where_none_are_given(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["effbench.sweep", "nonsense"])
    assert main() == WRONG_INPUT
    assert "nonsense" in capsys.readouterr().err
    assert logging.getLogger().level <= logging.WARNING
