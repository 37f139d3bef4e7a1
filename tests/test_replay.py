"""`effbench replay`: its page, and what it refuses before anything is read. The rest is tested with `sweep.replay`."""

import pytest

from effbench.replay import HELP, main


@pytest.mark.parametrize("arguments", [["-h"], ["run=a", "--help"]])
def test_help_is_a_page(arguments, capsys):
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{HELP}\n"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("effbench 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run: must be given: a run id of MLflow or a run key, as in run=1f2e3d; see --help"),
        (["1f2e3d"], "1f2e3d: must be key=value, as in run=1f2e3d"),
        (["run="], "run=: must be key=value"),
        (["runn=a"], "runn: there is no such key; did you mean run?"),
        (["run=a", "store.rot=x"], "store.rot: there is no such key; did you mean store.root?"),
        (
            ["run=a", "train.lr=3"],
            "train.lr: there is no such key; known: device, dry_run, run, store.root, tracking.exp",
        ),
        (["run=a", "+run=b"], "+run=b: run is given already"),
        (["run=a", "dry_run=maybe"], "dry_run=maybe: must be true or false"),
        (["run=a"], "there is no of_no_folder_above.db in "),
        (["run=a", "tracking.uri=nonsense"], "nonsense: must be a server"),
        (["run=a", "tracking.uri=sqlite:///none/mlflow.db"], "there is no database at none/mlflow.db"),
    ],
)
def test_what_fits_not_is_told_in_a_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("effbench.tracking.location.DATABASE", "of_no_folder_above.db")
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())
