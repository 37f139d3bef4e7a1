"""Names of files and folders as users give them: where a data set lies, and how a path is said in a message."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from effbench.checks.text import printable

log = logging.getLogger(__name__)

_MOST_CHARACTERS = 400
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")


def shown(text: object, /) -> str:
    r"""Return a name or a message as it can be printed (`checks.text`); of a long one the middle is left out.

    >>> shown("cat/é 1.png"), shown("cat\n.png")
    ('cat/é 1.png', 'cat\\n.png')
    """
    plain = str(text)
    if len(plain) > _MOST_CHARACTERS:
        plain = f"{plain[: _MOST_CHARACTERS // 2]}…{plain[-_MOST_CHARACTERS // 2 :]}"
    return printable(plain)


def listed(names: Iterable[str], /, *, most: int = 5) -> str:
    """Return names in a line, the first few of many.

    >>> listed(["a", "b", "c"], most=2)
    'a, b, … (3 in all)'
    """
    every = list(map(shown, names))
    return ", ".join(every[:most]) + (f", … ({len(every)} in all)" if len(every) > most else "")


def data_folder(root: object, /) -> Path:
    """Return where `data.root` is, absolute; ValueError for what can't be a folder. It need not be there."""
    if not isinstance(root, str | os.PathLike) or not str(root).strip():
        raise ValueError(f"data.root={'null' if root is None else root}: must name a folder")
    try:
        folder = Path(root).expanduser().resolve()
        is_other, is_there = folder.exists() and not folder.is_dir(), folder.exists()
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # a name too long, links in a circle, no such user, a zero byte
        raise ValueError(f"data.root={shown(root)}: can't be a folder ({shown(error)})") from None
    if is_other and folder.suffix.lower() in ARCHIVES:
        raise ValueError(f"data.root={shown(root)}: is an archive; unpack it, and give the folder that comes out")
    if is_other:
        raise ValueError(f"data.root={shown(root)}: is a file; give the folder that holds the data")
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        # The folder's name and path are logged, and databases hold Unicode.
        raise ValueError(f"data.root={shown(root)}: its name is not UTF-8; rename it, or give a link to it") from None
    if is_there:
        try:
            os.scandir(folder).close()
            os.stat(os.path.join(folder, os.curdir))  # a folder that may be listed, but not entered
        except OSError as error:
            raise ValueError(f"data.root={shown(root)}: this folder can't be read ({error.strerror})") from None
    return folder


@cache
def remark(line: str, /) -> None:
    """Say once, on stderr, what a user should know of the data; the processes that this one starts say nothing."""
    if multiprocessing.parent_process() is None:
        log.warning(line)
