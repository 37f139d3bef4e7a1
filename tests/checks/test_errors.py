"""Exceptions in one line."""

import pytest

from effbench.checks.errors import MOST_CHARACTERS, first_line, kind_and_line


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("no such file", "no such file"),
        ("no such file\nsee the manual", "no such file"),
        ("\n   \n  indented  \nmore", "indented"),
        ("", ""),
        (" \n ", ""),
        ("x" * 1000, "x" * MOST_CHARACTERS),
    ],
)
def test_the_first_line_that_is_not_empty(message, line):
    assert first_line(message) == line
    assert first_line(ValueError(message)) == line


def test_the_class_says_what_a_librarys_message_does_not():
    assert kind_and_line(KeyError("conv1")) == "KeyError: 'conv1'"
    assert kind_and_line(RuntimeError("shape\nmore")) == "RuntimeError: shape"
    assert kind_and_line(MemoryError()) == "MemoryError"
    assert kind_and_line(AssertionError("\n")) == "AssertionError"
