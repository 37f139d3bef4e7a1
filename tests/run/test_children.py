"""Processes that are ended, with all that they began."""

import subprocess
import sys
import time

import psutil
import pytest

from effbench.run.children import end_process

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(500)"], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def family():
    """A process with a child: both their ids."""
    parent = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    yield parent, int(parent.stdout.readline())
    parent.stdout.close()
    parent.kill()
    parent.wait()


def is_gone(pid):
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_process_is_ended_with_its_own_and_no_other(family):
    parent, child = family
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    end_process(parent.pid)
    assert is_gone(parent.pid) and is_gone(child)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_all_that_descend_from_this_process_are_ended():
    # Of another one: tests have processes that go on.
    code = f"{FAMILY.replace('time.sleep(600)', '')}\nfrom effbench.run.children import end_children\nend_children()"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert is_gone(int(finished.stdout))


def test_one_that_is_gone_is_no_error(family):
    parent, _ = family
    end_process(parent.pid)
    parent.wait()
    end_process(parent.pid)
