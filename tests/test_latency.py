"""`effbench latency`: its page, and what it refuses at once. The rest is tested with `sweep.measuring_again`."""

import pytest

from effbench.latency import HELP, main


def test_help_is_a_page(capsys):
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == f"{HELP}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "sweep: must be given: the id of a sweep, as in sweep=1bb9069ec35e; see --help"),
        (["sweep=a"], "engine, read: must be one of them, as in engine=onnxruntime or read=phone.json"),
        (["sweep=a", "engine=eager", "read=b"], "engine, read: must be one of them"),
        (["sweep=a", "read=b"], "machine: must be given with read="),
        (["sweep=a", "engine=eager", "machine=my phone"], "machine=my phone: must be a name of letters"),
        (["sweep=a", "engine=eager"], "there is no of_no_folder_above.db in "),
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
