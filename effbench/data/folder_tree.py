"""What lies in a folder of images: its visible folders, the images below one, and what is there but is no image."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path, PurePath

from effbench.data.paths import shown

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".pbm", ".pgm", ".pnm", ".ppm"),
}
"""The names of image files end so, in any case. Others (.heic, .avif, .jp2, .svg, …) are left out, with a remark."""

# What file managers, archivers, notebooks and file servers leave behind; in lower case.
_LEFT_BEHIND = {
    "__macosx",
    "__pycache__",
    "@eadir",
    "@recycle",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "lost+found",
    "system volume information",
    "network trash folder",
    "temporary items",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
}

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def is_hidden(name: str, /) -> bool:
    """Whether a file or folder is none of the user's: its name begins with a dot, or a program has left it behind."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def is_image_name(name: str, /) -> bool:
    """Whether a file's name ends like an image's."""
    return PurePath(name).suffix.lower() in SUFFIXES


def folders_in(folder: Path, /) -> list[str]:
    """Return the names of the visible folders in a folder, sorted. ValueError names one that can't be followed."""
    names = []
    for entry in _visible(folder):
        if _is_folder(entry):
            names.append(entry.name)
        else:
            _check_link(entry)
    return sorted(names)


def count_images(folder: Path, /) -> int:
    """Return how many images lie in a folder itself, not in those below it."""
    return sum(is_image_name(entry.name) and not _is_folder(entry) for entry in _visible(folder))


def list_images(folder: Path, /, others: Counter[str]) -> list[Path]:
    """Return the images in a folder and below it, sorted; nothing is opened.

    Links are followed. `others` counts what else is there, by suffix. ValueError names what is called as an image but
    is no file, a link that leads nowhere or in a circle, and a folder that can't be listed.
    """
    found: list[Path] = []
    pending: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(folder, ())]
    while pending:
        place, above = pending.pop()
        about = place.stat()
        if (about.st_dev, about.st_ino) in above:
            raise ValueError(f"{shown(place)}: is a link to a folder that it lies in; remove it")
        for entry in _visible(place):
            if _is_folder(entry) and not is_image_name(entry.name):
                pending.append((place / entry.name, (*above, (about.st_dev, about.st_ino))))
            elif not is_image_name(entry.name):
                _check_link(entry)
                others[PurePath(entry.name).suffix.lower()] += 1
            elif _is_file(entry):
                found.append(place / entry.name)
            else:
                raise ValueError(f"{shown(place / entry.name)}: {_what_is(place / entry.name)}; remove or rename it")
    return sorted(found)


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise ValueError(f"{shown(folder)}: this folder can't be read ({error.strerror})") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _check_link(entry: os.DirEntry[str]) -> None:
    """Refuse a link that leads nowhere, if its name may be a folder's: a class would be missing without a word."""
    if entry.is_symlink() and not PurePath(entry.name).suffix and not _is_file(entry) and not os.path.exists(entry):
        raise ValueError(f"{shown(entry.path)}: {_what_is(Path(entry.path))}; mend or remove it")


def _what_is(path: Path) -> str:
    """Say what is called as an image, but is no file."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        if path.is_symlink():
            return f"is a link to {shown(os.readlink(path))}, which can't be followed ({error.strerror})"
        return f"can't be read ({error.strerror})"
    return f"is {_KINDS.get(kind, 'something else')}, not an image file"
