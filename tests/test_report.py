"""The command that writes the report of a tracked sweep."""

import pytest

from effbench import report
from effbench.sweep import reporting
from effbench.sweep.reporting import TrackedReport
from effbench.tracking import parents
from effbench.tracking.parents import TrackedSweep


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "sweep: must be given"),
        (["sweep=1", "log=perhaps"], "log=perhaps: must be true or false"),
        (["sweep=1", "out=page.pdf"], "out=page.pdf: must end with .html"),
        (["sweep=1", "out=no/such/page.html"], "there is no folder no/such"),
        (["swep=1"], "swep"),
        (["sweep=1", "tracking.uri=sqlite:///nowhere.db"], "there is no database"),
    ],
)
def test_wrong_input_is_told_in_a_line(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert report.main(arguments) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("log", [True, False])
def test_the_page_is_written_and_logged(log, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    parent = TrackedSweep(run_id="r1", experiment_id="1", sweep_id="ab12", tags={})
    monkeypatch.setattr(reporting, "report_again", lambda sweep, **_: TrackedReport(parent=parent, page=b"<html>"))
    logged = []
    monkeypatch.setattr(parents, "add_file", lambda *given, **_: logged.append(given))
    assert report.main(["sweep=ab", *([] if log else ["log=false"])]) == 0
    assert (tmp_path / "report.html").read_bytes() == b"<html>"
    assert logged == ([("r1", "report.html", b"<html>")] if log else [])
    assert "report.html: written" in capsys.readouterr().err


def test_help_is_a_page(capsys):
    assert report.main(["--help"]) == 0
    assert "python -m effbench.report sweep=<id>" in capsys.readouterr().out
