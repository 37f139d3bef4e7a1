"""What is said on stderr: no secret, and nothing that acts on a terminal."""

import logging
import subprocess
import sys

import pytest

from effbench.sweep.messages import PlainLines, plain, say

BAD = "\x1b[31m http://me:hunter2@there \u202e"
GOOD = "\\x1b[31m http://me:***@there \\u202e"


def test_a_line_is_one_line(capsys):
    assert plain(ValueError(f"{BAD}\nsecond")) == f"{GOOD}\\nsecond"
    say(BAD)
    assert capsys.readouterr().err == f"effbench: {GOOD}\n"


@pytest.mark.parametrize("arguments", [(BAD,), ("%s", BAD)])
def test_so_is_one_of_the_log_with_its_exception_below(arguments):
    try:
        raise ValueError(BAD)
    except ValueError:
        record = logging.LogRecord("x", logging.WARNING, "", 1, arguments[0], arguments[1:], sys.exc_info())
    first, *trace = PlainLines("effbench: %(message)s").format(record).splitlines()
    assert first == f"effbench: {GOOD}"
    assert trace[0] == "Traceback (most recent call last):"
    assert "hunter2" not in "".join(trace) and "\x1b" not in "".join(trace)


@pytest.mark.parametrize("act", ["raise ValueError(bad)", "warnings.warn(bad)", "log.warning(bad)"])
def test_whatever_a_command_ends_with_is_shown_so(act):
    program = f"""
import logging, warnings
from effbench.sweep.messages import guard_process, log_to_stderr
guard_process()
log_to_stderr()
log, bad = logging.getLogger("x"), {BAD!r}
{act}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert GOOD in done.stderr
    assert "hunter2" not in done.stderr and "\x1b" not in done.stderr
