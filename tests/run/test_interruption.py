"""Signals: noted, and whatever the command does, it ends soon, with what it has open closed."""

import signal
import subprocess
import sys
import time

import pytest

from effbench.run import interruption

PROGRAM = """
import sys, time, weakref
from effbench.run import interruption as i
i.heed()

def closing(text):
    return lambda: print(text, flush=True)

def until(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
        i.check()

def ready():
    print("ready", flush=True)

try:
{body}
except KeyboardInterrupt:
    i.end_now(i.MESSAGE)
print("to the end", flush=True)
"""

BODIES = {
    "comes to a check": "    with i.open_until_closed(closing('never')):\n        ready(); until(60)",
    "nothing is open": "    ready(); time.sleep(60)",
    "stuck with something open": "    with i.open_until_closed(closing('closed')):\n        ready(); time.sleep(60)",
    "stuck, and so is its closing": """
    with i.open_until_closed(lambda: time.sleep(60)):
        ready(); time.sleep(60)""",
    "its closing fails": "    with i.open_until_closed(lambda: 1 / 0):\n        ready(); time.sleep(60)",
    "where an exception would be lost": """
    class Catching:
        pass
    def busy(_):
        ready(); time.sleep(0.5)
    thing = Catching()
    reference = weakref.ref(thing, busy)
    with i.open_until_closed(closing('never')):
        del thing
        until(60)""",
    "where all is caught": """
    with i.open_until_closed(closing('never')):
        ready()
        while True:
            try:
                time.sleep(0.05)
            except BaseException:
                pass
            i.check()""",
    "after a child of its own ended": """
    import signal, subprocess
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    subprocess.run([sys.executable, "-c", ""])
    ready(); time.sleep(60)""",
    "in machine code": """
    import re
    ready()
    re.match(r'(a|aa)+$', 'a' * 60 + 'b')""",
}


@pytest.fixture
def begin():
    """Return what begins a program with a body and waits until it is ready; none outlives its test."""
    begun = []

    def begin(body, *, ignores=None):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(body=body)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests themselves run in the background Ctrl-C is ignored, and what they start inherits that.
            preexec_fn=lambda: (
                [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)],
                ignores and signal.signal(ignores, signal.SIG_IGN),
            ),
        )
        begun.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("body", BODIES)
def test_it_ends_within_two_seconds_wherever_it_is(begin, body):
    process = begin(BODIES[body])
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ("closed\n" if body == "stuck with something open" else "")
    lines = err.splitlines()
    assert lines[-1] == f"effbench: {interruption.MESSAGE}"
    assert "Traceback" not in err
    assert time.monotonic() - began < 2.5


def test_a_child_that_ends_interrupts_nothing(begin):
    process = begin(
        "    import signal, subprocess\n"
        "    signal.signal(signal.SIGCHLD, lambda number, frame: None)\n"
        "    ready()\n"
        "    subprocess.run([sys.executable, '-c', ''])\n"
        "    until(0.5)"
    )
    assert process.communicate(timeout=30)[0] == "to the end\n"


def test_a_second_one_ends_it_at_once(begin):
    process = begin(BODIES["stuck, and so is its closing"])
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - began < 0.7
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_is_the_same(begin, number):
    process = begin(BODIES["comes to a check"])
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, f"effbench: {interruption.MESSAGE}\n")


def test_what_is_ignored_from_the_beginning_stays_so(begin):
    process = begin("    ready(); until(0.5)", ignores=signal.SIGHUP)  # as nohup does
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=30)[0] == "to the end\n"


def test_where_no_signals_are_heeded_nothing_is_asked():
    interruption.check()
    with interruption.open_until_closed(lambda: 1 / 0):
        interruption.check()


def test_it_needs_nothing_that_is_slow_to_import():
    code = "import sys, effbench.run.interruption; print([n for n in ('torch', 'numpy', 'psutil') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
