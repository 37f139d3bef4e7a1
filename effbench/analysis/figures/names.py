"""Names of others in figures: one line that matplotlib takes as it stands, and that leaves room for the data."""

from __future__ import annotations

LONGEST = 34
"""Characters."""


def shown_name(text: str, /, *, longest: int = LONGEST) -> str:
    """Return a name as a figure shows it: what can't be drawn is written out, of a long line the middle is left out.

    >>> shown_name("prune=0.5"), shown_name("a" * 50)
    ('prune=0.5', 'aaaaaaaaaaaaaaaa…aaaaaaaaaaaaaaaaa')
    """
    return "\n".join(shortened(_drawable(line), longest) for line in text.split("\n"))


def shortened(text: str, /, length: int) -> str:
    """Return a text of at most so many characters (2 at least): of a longer one the middle is left out.

    >>> shortened("prune=0.5, seed=0: finetune", 16)
    'prune=0…finetune'
    """
    if len(text) <= length:
        return text
    n_first = (length - 1) // 2
    return f"{text[:n_first]}…{text[len(text) - (length - 1 - n_first) :]}"


def _drawable(text: str) -> str:
    """Return text without characters that no font has, or that turn the direction of what follows."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
