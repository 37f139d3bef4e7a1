"""Text of others on a terminal and in a shell: nothing of it acts."""

import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effbench.checks.text import printable, printable_lines, shell_quoted

ODD = [
    "\x1b[31mred",
    "a\rb",
    "a\nb",
    "a\tb",
    "nul\0",
    "\x9b31m",
    "\u202eabc",
    "\u2066x",
    "\u200bx",
    "\ufeffx",
    "a\udcffb",
]


@pytest.mark.parametrize("text", ODD)
def test_what_acts_on_a_terminal_is_written_out(text):
    shown = printable(text)
    assert shown.isprintable() and "\\" in shown
    shown.encode()


@given(st.text(st.characters(), max_size=30))
def test_no_text_breaks_a_line_or_moves_the_cursor(text):
    shown = printable(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert shown.splitlines() in ([shown], [])


@pytest.mark.parametrize("text", ["žlutý 猫", "a [red]b[/bold]", "e\u0301", "α=0.5 → x", "\\x1b", ""])
def test_what_does_nothing_stays(text):
    assert printable(text) == text


def test_a_traceback_keeps_its_lines():
    assert printable_lines("a\n\tb\x1b[0m\n") == "a\n    b\\x1b[0m\n"


@pytest.mark.parametrize(
    "text", ["plain", "my runs", "a'b\"c", "$HOME `x` \\", "a&b;c?#%", " ", "a\nb'\\c\t", "\x1b[31m", "猫\n"]
)
def test_a_shell_reads_back_what_was_quoted(text):
    quoted = shell_quoted(text)
    assert quoted.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True)
    assert done.stdout.decode() == text
