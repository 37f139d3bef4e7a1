"""The server from which workers fork: when it is begun, and that it ends with whoever began it."""

import os
import subprocess
import sys
import time

import pytest

from effbench.run import forkserver


@pytest.mark.parametrize(
    ("arguments", "n_cores", "is_begun"),
    [
        (["+prune=0.5"], 2, True),
        (["+prune=0.5", "sweep.jobs=2"], 2, True),
        (["+prune=0.5"], 1, True),
        (["+prune=0.5", "sweep.jobs=1"], 2, False),
        (["+prune=0.5", "dry_run=true"], 2, False),
        (["+prune=0.5", "hydra/launcher=joblib"], 2, False),
        (["+prune=0.5", "+hydra.job.env_set.A=1"], 2, False),
        (["--help"], 2, False),
    ],
)
def test_it_is_begun_before_anything_is_known_where_workers_may_be_needed(monkeypatch, arguments, n_cores, is_begun):
    begun = []
    monkeypatch.setattr(forkserver, "begin_server", lambda: begun.append(True))
    monkeypatch.setattr(os, "cpu_count", lambda: n_cores)
    forkserver.begin_server_for(arguments)
    assert bool(begun) is is_begun


def test_beginning_it_imports_nothing_heavy():
    code = "import sys, effbench.run.forkserver; print([n for n in ('torch', 'numpy', 'hydra') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.extended
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_a_server_that_still_imports_ends_with_its_parent(tmp_path):
    code = "import time; from effbench.run.forkserver import begin_server; begin_server(); time.sleep(1)"
    # The server holds the other end of the pipe: it is read to its end when the server is gone.
    finished = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert finished.stderr == ""
    time.sleep(0.1)
    assert not [name for name in os.listdir("/proc") if name.isdigit() and cwd_of(name) == str(tmp_path)]


def cwd_of(process):
    try:
        return os.readlink(f"/proc/{process}/cwd")
    except OSError:
        return None


@pytest.mark.parametrize(("owner", "name", "goes"), [(1, "pymp-a", True), (2, "pymp-a", False), (1, "mine", False)])
def test_only_the_folder_of_its_own_socket_is_taken_away(tmp_path, monkeypatch, owner, name, goes):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "listener").touch()
    monkeypatch.setenv(forkserver.FOLDER, f"1:{folder}")
    for _ in range(2):  # whoever is second finds nothing
        forkserver.take_folder_away(owner)
    assert folder.exists() is not goes
    monkeypatch.delenv(forkserver.FOLDER)
    forkserver.take_folder_away(owner)


def test_where_the_temporary_folder_has_too_long_a_path_for_a_socket_each_worker_begins_by_itself(monkeypatch):
    assert forkserver.worker_context().get_start_method() == "forkserver"
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "é" * 40)
    assert forkserver.worker_context().get_start_method() == "spawn"
    forkserver.begin_server()  # there is none to begin


def test_a_server_that_is_ended_is_begun_anew_with_the_environment_as_it_is_then():
    program = (
        "import os\n"
        "from effbench.run import forkserver as ours\n"
        "ours.worker_context = lambda: __import__('multiprocessing').get_context('forkserver')\n"
        "ours.end_server()\n"  # there is none
        "ours.begin_server()\n"
        "os.environ['MINE_OF_15'] = '7'\n"
        "ours.end_server()\n"
        "with ours.worker_context().Pool(1) as pool:\n"
        "    print(pool.apply(os.getenv, ['MINE_OF_15']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("7\n", "")
