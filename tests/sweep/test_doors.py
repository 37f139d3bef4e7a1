"""The small doors: what asks for no work is answered, arguments are plain keys."""

import pytest

from effbench.sweep.doors import answered, pass_through, read_keys

DEFAULTS = {"run": "", "store.root": ".effbench", "dry_run": "false"}


@pytest.mark.parametrize("argument", ["-h", "--help", "--version", "-V"])
def test_help_and_version_are_no_work(capsys, argument):
    assert answered(["run=3", argument], lambda: "how it is done") == 0
    assert capsys.readouterr().out.startswith("how it is done" if "h" in argument else "effbench ")


def test_what_is_work_is_left_to_the_door(capsys):
    assert answered(["run=3"], lambda: "how it is done") is None
    assert capsys.readouterr().out == ""


def test_a_python_without_the_packages_is_told_in_a_line(capsys, monkeypatch):
    monkeypatch.setattr("effbench.sweep.doors.what_to_activate", lambda: "type this")
    assert answered(["run=3"], lambda: "how it is done") == 2
    assert capsys.readouterr().err.splitlines() == ["effbench: type this"]


def test_keys_have_their_values_or_their_defaults():
    assert read_keys(["+run=3", "dry_run=True"], DEFAULTS, example="run=1") == {
        "run": "3",
        "store.root": ".effbench",
        "dry_run": "true",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "run: must be key=value, as in run=1; see --help"),
        (["run= "], "run= : must be key=value, as in run=1; see --help"),
        (["store.rot=3"], "did you mean store.root?"),
        (["run=3", "run=4"], "run=4: run is given already"),
        (["dry_run=maybe"], "dry_run=maybe: must be true or false"),
    ],
)
def test_what_is_no_key_is_refused(arguments, message):
    with pytest.raises(ValueError) as caught:
        read_keys(arguments, DEFAULTS, example="run=1")
    assert message in str(caught.value)


def raising(error):
    def work(arguments):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("run=3: there is none"), 2, "effbench: run=3: there is none"),
        (OSError(28, "No space left on device"), 1, "effbench: the store: can't be written (No space left on device)"),
        (PermissionError(13, "Permission denied", "a/b"), 1, "effbench: a/b: can't be written (Permission denied)"),
        (KeyboardInterrupt(), 130, None),
    ],
)
def test_what_can_not_be_done_is_told_in_a_line(capsys, error, status, line):
    assert pass_through(["run=3"], lambda: "how it is done", raising(error), into="the store") == status
    (told,) = capsys.readouterr().err.splitlines()
    assert line is None or told == line


def test_keys_without_a_dry_run_have_none():
    assert read_keys(["run=3"], {"run": ""}, example="run=1") == {"run": "3"}
    with pytest.raises(ValueError, match="dry_run: there is no such key"):
        read_keys(["dry_run=true"], {"run": ""}, example="run=1")
