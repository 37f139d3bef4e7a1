"""A function called in a process of its own: its result, what it reports, its exception, its death."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from effbench.run.apart import ProcessDied, call_apart
from effbench.run.outcomes import RunError


def double(value, report):
    report("asked", os.getpid())
    report("half way", 0.5)
    return 2 * value


def fail(report):
    report("about to")
    raise FileNotFoundError(2, "no such file", "model.effb")


def die(number, report):
    os.kill(os.getpid(), number)


def leave(status, report):
    os._exit(status)


def sleep(seconds, report):
    report(os.getpid())
    time.sleep(seconds)


def test_the_result_and_what_is_reported_come_back():
    told = []
    result = call_apart(double, np.arange(3), report=lambda *values: told.append(values))
    assert result.tolist() == [0, 2, 4]
    assert told[1:] == [("half way", 0.5)]
    assert told[0][1] != os.getpid()
    assert call_apart(double, "ab") == "abab"  # whether anybody listens or not


def test_a_large_result_comes_back_whole():
    assert call_apart(double, b"x" * 2**22) == b"x" * 2**23


def test_an_exception_comes_back_with_its_traceback():
    with pytest.raises(RunError, match=r"FileNotFoundError: .*no such file") as raised:
        call_apart(fail)
    assert raised.value.errno == 2
    assert "in fail" in raised.value.trace


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("function", "argument", "message"),
    [
        (die, signal.SIGKILL, "signal SIGKILL"),
        (die, signal.SIGSEGV, "signal SIGSEGV"),
        (leave, 3, "exit status 3"),
        (leave, 0, "exit status 0"),
    ],
)
def test_a_death_is_told(function, argument, message):
    with pytest.raises(ProcessDied, match=rf"^its process died \({message}\)$"):
        call_apart(function, argument)


def test_an_interruption_ends_the_process():
    there = []

    def interrupt(number):
        there.append(number)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_apart(sleep, 60, report=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(there[0], 0)


def children():
    """Return this process's children, but for joblib's, which other tests may have left."""
    return [child for child in multiprocessing.active_children() if "loky" not in type(child).__module__]


def test_others_find_the_process_among_the_children_and_may_end_it():
    began = threading.Event()

    def end():
        began.wait(30)
        for process in children():
            process.kill()

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(ProcessDied, match="SIGKILL"):
        call_apart(sleep, 60, report=lambda number: began.set())
    thread.join()
    assert not children()


@pytest.mark.extended
def test_what_it_shares_with_processes_of_its_own_is_given_back(tmp_path):
    (tmp_path / "sharing_apart.py").write_text(
        "import multiprocessing, multiprocessing.util, time\n"
        "kept = []\n"
        "def share(report):\n"
        # Before anything is given back:
        "    multiprocessing.util.Finalize(None, time.sleep, (0.5,), exitpriority=99)\n"
        "    kept.append(multiprocessing.get_context('spawn').Queue())\n"
        "    return len(kept)\n"
    )
    code = "import sharing_apart\nfrom effbench.run.apart import call_apart\nprint(call_apart(sharing_apart.share))\n"
    folders = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
