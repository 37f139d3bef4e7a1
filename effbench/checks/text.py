r"""Text of others (names, labels, messages, files) as it may stand on a terminal.

An escape code in the name of a folder could colour the screen, clear it or write over what was printed; a character
that turns the direction of text could show another name than there is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

# Control characters (C0, DEL, C1), what breaks lines or turns the direction, what is not visible, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_N_NAMED = 8
_SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


def printable(text: object, /) -> str:
    r"""Return a text in one line that does nothing to a terminal: control characters are written out.

    >>> printable("a\x1b[31mred\n")
    'a\\x1b[31mred\\n'
    """
    return _UNSAFE.sub(_written_out, str(text))


def printable_lines(text: str, /) -> str:
    r"""Return a text that does nothing to a terminal but to break its lines, such as a traceback."""
    return "\n".join(printable(line) for line in text.replace("\t", "    ").split("\n"))


def shell_quoted(text: str, /) -> str:
    r"""Return a word as a shell takes it, whatever is in it, in printable characters.

    >>> shell_quoted("my runs"), shell_quoted("a\nb'c")
    ("'my runs'", "$'a\\nb\\'c'")
    """
    if not _UNSAFE.search(text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{_UNSAFE.sub(_for_shell, escaped)}'"


def _written_out(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file's name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _for_shell(match: re.Match[str]) -> str:
    character = match[0]
    content = character.encode("utf-8", "surrogateescape")
    return _SHORT.get(character) or "".join(f"\\x{byte:02x}" for byte in content)


def few_names(names: Sequence[str], /) -> str:
    """Return names in one line, the first ones where there are many."""
    more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
    return ", ".join(names[:_N_NAMED]) + more
