"""A digest of image files, which looks at every one of them before anything is trained."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from effbench.data.image_files import check_header, quiet_pillow, read_image_file, size_and_time

_N_TOGETHER = 16

Result = TypeVar("Result")
Entry = tuple[str, Path]
"""A line that names a file, its split and its class, and the file."""


def fingerprint_of(about: str, entries: Sequence[Entry], /, *, most_bytes: int) -> str:
    """Return a digest of `about` and the files, 16 hexadecimal digits. ValueError names a file that can't be used.

    Of at most `most_bytes` in all, every file is read, and its content counts. Of more, names, sizes and times of
    change must do, and the head of every file is opened, once: that all are well is remembered beside the user's other
    caches, until one of these differs.
    """
    digest = hashlib.sha256(about.encode())
    paths = [path for _, path in entries]
    changes = [size_and_time(path) for path in paths]
    is_read = sum(n_bytes for n_bytes, _ in changes) <= most_bytes
    parts: Iterator[bytes]
    if is_read:
        parts = _each(_digest_of_content, paths)
    else:
        parts = (f"{n_bytes} {time}".encode() for n_bytes, time in changes)
    for (line, _), part in zip(entries, parts, strict=True):
        # A name need not be UTF-8.
        digest.update(f"{line}\n".encode("utf-8", "surrogateescape"))
        digest.update(part)
    if not is_read:
        digest.update(_treatments(digest.hexdigest(), paths))
    return digest.hexdigest()[:16]


def _digest_of_content(path: Path) -> bytes:
    content, treatment = read_image_file(path)
    return hashlib.sha256(content).digest() + treatment.encode()


def _treatments(key: str, paths: Sequence[Path]) -> bytes:
    """Return what is done to images beyond Pillow's own conversion, nothing where that is plain: from their heads.

    key: says all that this depends on.
    """
    remembered = _cache_folder() / key
    with suppress(OSError):
        return remembered.read_bytes()
    treatments = enumerate(_each(check_header, paths))
    found = "".join(f"{number} {treatment}\n" for number, treatment in treatments if treatment).encode()
    with suppress(OSError):  # a home that can't be written to: the files are looked at again next time
        remembered.parent.mkdir(parents=True, exist_ok=True)
        unfinished = remembered.with_name(f"{key}.{os.getpid()}")
        unfinished.write_bytes(found)
        unfinished.replace(remembered)
    return found


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser(os.path.join("~", ".cache"))
    return Path(base).absolute() / "effbench" / "image_folders-1"


def _each(use: Callable[[Path], Result], paths: Sequence[Path]) -> Iterator[Result]:
    """Yield what `use` makes of each path, by threads; the first error ends them."""

    def use_each(start: int) -> list[Result]:
        return [use(path) for path in paths[start : start + _N_TOGETHER]]

    with quiet_pillow(), ThreadPoolExecutor() as threads:
        try:
            for results in threads.map(use_each, range(0, len(paths), _N_TOGETHER)):
                yield from results
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
