"""`effbench new model my_net`: the files that a network, technique, data set … of your own begins with."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from effbench.sweep.doors import WRONG_INPUT, answered
from effbench.sweep.messages import say

FOLDER = "conf_mine"
HELP = """\
effbench new KIND NAME [--folder=conf_mine]         (or python -m effbench.new …: the same command)
Write the files that something of your own begins with: NAME.py here, and what names it in the folder of configuration.
They run as they are; change them as you like. No file is overwritten.

kinds
{kinds}

exit status: 0, 1 when a file can't be written, 2 for wrong input"""
FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    status = answered(arguments or ["--help"], help_page)
    if status is not None:
        return status
    from effbench.config.beginning import command_of, files_of

    try:
        kind, name, folder = _read(arguments)
        files = files_of(kind, name, folder)
        for path in files:
            if path.exists() or path.is_symlink():
                raise ValueError(f"{path}: is there already; nothing was written")
    except ValueError as error:
        say(error)
        return WRONG_INPUT
    try:
        _write(files)
    except OSError as error:
        say(f"{error.filename}: can't be written ({error.strerror})")
        return FAILED
    print(*(f"wrote {path}" for path in files), f"try it: {command_of(kind, name, folder)}", sep="\n")
    return 0


def help_page() -> str:
    """Return the help page, with the kinds that there are."""
    from effbench.config.beginning import KINDS

    return HELP.format(kinds="\n".join(f"  {kind:<8} {what}" for kind, what in KINDS.items()))


def _read(arguments: Sequence[str]) -> tuple[str, str, Path]:
    """Return the kind, the name and the folder. ValueError for other arguments."""
    words, folder, waiting = list[str](), FOLDER, iter(arguments)
    for argument in waiting:
        option, equals, value = argument.partition("=")
        if option == "--folder":
            folder = value if equals else next(waiting, "")
            if not folder.strip():
                raise ValueError(f"--folder: must be followed by a folder, as in --folder={FOLDER}")
            if not folder.isprintable() or set(folder) & set('"\\'):
                raise ValueError(
                    f"--folder={folder}: its name goes into the files; use one without quotes and the like"
                )
        elif argument.startswith("-"):
            raise ValueError(f"{argument}: there is no such option; there is --folder=…")
        else:
            words.append(argument)
    if len(words) != 2:
        raise ValueError(f"effbench new {' '.join(words)}: must be a kind and a name, as in effbench new model my_net")
    return words[0], words[1], Path(folder).expanduser()


def _write(files: Mapping[Path, str]) -> None:
    """Write files that are not there yet: all of them or, after an OSError, none."""
    written: list[Path] = []
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise


if __name__ == "__main__":
    sys.exit(main())
