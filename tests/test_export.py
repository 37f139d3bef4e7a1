"""`effbench export`: its page, and what it refuses before anything is read; the rest: `sweep/test_exporting.py`."""

import pytest

from effbench.export import HELP, main


def test_help_is_a_page(capsys):
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == f"{HELP}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run, sweep: must be one of them, as in run=1f2e3d or sweep=1bb9069ec35e; see --help"),
        (["run=a", "sweep=b"], "run, sweep: must be one of them"),
        (["sweep=a", "point=best"], "point=best: must be saturation; run= takes any other run"),
        (["run=a", "engin=b"], "engin: there is no such key; did you mean engine?"),
        (["run=a"], "there is no of_no_folder_above.db in "),
        (["sweep=a", "tracking.uri=sqlite:///none/mlflow.db"], "there is no database at none/mlflow.db"),
    ],
)
def test_what_fits_not_is_told_in_a_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("effbench.tracking.location.DATABASE", "of_no_folder_above.db")
    assert main(arguments) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert message in line and printed.out == ""
    assert not list(tmp_path.iterdir())
