"""The store's door: lists, clears, and refuses what it does not know."""

import subprocess
import sys

import pytest

from effbench.run.recording import keep_record
from effbench.run.store import Store
from effbench.run.sweep_records import SweepRecord
from effbench.store import DEFAULTS, main


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """Return the store of the working folder, with a sweep and something lost."""
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / ".effbench")
    none = frozenset()
    keep_record(SweepRecord(id="abc", command="c", points={}, lasting=none, references=none, teachers=none), store)
    store.put("models/lost", b"")
    return store


def test_without_arguments_it_lists_and_deletes_nothing(store, capsys):
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(".effbench: 2 files")
    assert "abc" in out
    assert err == ""
    assert store.has_model("lost")


def test_a_dry_run_says_what_would_go(store, capsys):
    assert main(["clear=unused", "dry_run=true"]) == 0
    assert capsys.readouterr().out.startswith("would clear 1 file, 32 B\n")
    assert store.has_model("lost")
    assert main(["clear=unused", "dry_run=False"]) == 0
    assert capsys.readouterr().out == "cleared 1 file, 32 B\n"
    assert not store.has_model("lost")


def test_a_sweep_is_cleared_by_the_beginning_of_its_id(store, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert main([f"store.root={tmp_path}/.effbench", "clear=a"]) == 0
    assert not store.has("sweeps/abc.json")


def test_what_is_under_way_makes_it_fail(store, capsys):
    with store.lock("sweep-abc"):
        assert main(["clear=abc"]) == 1
    assert "sweep abc is under way: it stays" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cler=unused"], "cler: there is no such key; did you mean clear?"),
        (["clear"], "clear: must be key=value, as in clear=unused; see --help"),
        (["clear="], "clear=: must be key=value"),
        (["clear=zz"], "clear=zz: there is no such sweep; give unused, older=30d or one of these sweeps: abc"),
        (["clear=a", "clear=b"], "clear=b: clear is given already"),
        (["clear=a", "dry_run=yes"], "dry_run=yes: must be true or false"),
        (["dry_run=true"], "dry_run: says what clear=… would delete; give that too, as in clear=unused"),
        (["store.root=none"], "store.root=none: there is no store; a sweep makes one"),
        (["clear=older=soon"], "clear=older=soon: must be an age"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"effbench: {message}")
    assert err.count("\n") == 1
    assert out == ""


def test_the_help_names_every_key(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {key}=" in out for key in DEFAULTS)


def test_it_comes_without_torch_and_mlflow():
    program = "import sys, effbench.store; print([n for n in ('torch', 'mlflow', 'hydra') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
