"""Names of others in figures: one line that matplotlib takes as it stands, and that leaves room for the data."""

from __future__ import annotations

from effbench.checks.text import printable, shortened

LONGEST = 34
"""Characters."""


def shown_name(text: str, /, *, longest: int = LONGEST) -> str:
    """Return a name as a figure shows it: nothing in it breaks lines but its own, of a long one the middle is left out.

    >>> shown_name("prune=0.5"), shown_name("a" * 50)
    ('prune=0.5', 'aaaaaaaaaaaaaaaa…aaaaaaaaaaaaaaaaa')
    """
    return "\n".join(shortened(printable(line), longest) for line in text.split("\n"))
