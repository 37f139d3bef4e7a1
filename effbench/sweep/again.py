"""The command of a finished sweep, once more: its answer from the store, without torch, Hydra or MLflow.

An answer is kept with the state of all that decides it: effbench's own files, the user's code and data, the versions
of packages, what the store has. While nothing of that has changed and MLflow's database has the runs, planning the
sweep again could only come to the same. Anything else is left to the long way: another database than SQLite, a data
set of the user's own (what it reads is not known), a run that failed, a latency that should be measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from effbench.plan.witnesses import NESTED, Witnesses
from effbench.run.entry import entry_path, read_json_entry
from effbench.tracking.location import for_writing, sqlite_path, ui_command

if TYPE_CHECKING:
    from effbench.plan.sweep import Sweep
    from effbench.run.store import Store
    from effbench.sweep.printout import Printout

VERSION = 3
"""Bumped when what is kept of an answer changes."""
DEFAULT_ROOT = ".effbench"
"""The default of `store.root`."""


def answer_again(arguments: Sequence[str], show: Callable[[Printout], None] | None = None, /) -> bool:
    """Show the answer that the same command gave, if it would come to the same now; returns whether it did.

    show: what shows it; None prints it.
    """
    roots = [text.partition("=")[2] for text in arguments if re.match(r"\+{0,2}store\.root=", text)]
    try:
        root = Path(roots[-1] if roots else DEFAULT_ROOT).expanduser()
        kept = read_json_entry(root, _entry(arguments))
        if kept is None or not _is_valid(kept):
            return False
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):  # no such home is a RuntimeError
        return False
    from effbench.sweep.printout import Printout

    printout = Printout.from_plain(kept["printout"], runs=ui_command(for_writing(kept["uri"])))
    (Printout.show if show is None else show)(printout)
    with suppress(OSError):  # it is somebody else's: `effbench.store` then says less about its last use
        os.utime(entry_path(root, f"sweeps/{kept['sweep']}.json"))
    return True


def keep_answer(arguments: Sequence[str], sweep: Sweep, printout: Printout, store: Store, /) -> None:
    """Keep the answer of a sweep all of whose runs are finished and logged, where its command can come to no other."""
    from effbench.sweep.timing import is_measured
    from effbench.sweep.witnesses import witnesses_of

    path = sqlite_path(for_writing(sweep.tracking.uri))
    if sweep.callbacks or refers_outside(arguments, sweep.config_folders):
        return
    witnesses = witnesses_of(sweep, store, printout)
    if path is None or witnesses is None or not is_measured(sweep.plan.points, sweep, store):
        return
    with suppress(OSError):  # the disk is full, or a file has just been taken away: the long way is left
        store.put_json(_entry(arguments), _kept(sweep, printout, path, witnesses))


def refers_outside(arguments: Sequence[str], folders: Sequence[str], /) -> bool:
    """Whether a command, or the user's configuration, asks a resolver or a module: what these give is known to nobody.

    >>> refers_outside(["data.root=${oc.env:HOME}/photos"], []), refers_outside(["finetune.lr=${train.lr}"], [])
    (True, False)
    """
    files = [path for folder in folders for path in _configuration_in(Path(folder))]
    texts = [*arguments, *(path.read_text(encoding="utf-8", errors="replace") for path in files)]
    return any(re.search(r"\$\{\s*[\w.]+\s*:|^\+{0,2}imports\s*[=:]", text, re.MULTILINE) for text in texts)


def _configuration_in(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.yaml")
    for path in folder.iterdir():
        if path.is_dir() and path.name[0] not in "._":
            yield from path.rglob("*.yaml") if path.name in NESTED else path.glob("*.yaml")


def _kept(sweep: Sweep, printout: Printout, database: Path, witnesses: Witnesses) -> dict[str, Any]:
    return {
        "version": VERSION,
        "sweep": sweep.plan.sweep_id,
        "runs": [point.key for point in sweep.plan.points],
        "uri": sweep.tracking.uri,
        "experiment": sweep.tracking.experiment,
        "database": str(database.resolve()),
        "state": witnesses.state(),
        "printout": printout.to_plain(),
    }


def _entry(arguments: Sequence[str]) -> str:
    """Return the name of the entry for a command; its arguments, which may hold a password, are not in it."""
    return f"answers/{hashlib.sha256(json.dumps(list(arguments)).encode()).hexdigest()[:20]}.json"


def _is_valid(kept: Mapping[str, Any]) -> bool:
    """Whether planning the sweep again would come to what was kept."""
    if kept["version"] != VERSION:
        return False
    state, path = kept["state"], sqlite_path(for_writing(kept["uri"]))
    if path is None or str(path.resolve()) != kept["database"]:
        return False
    if Witnesses.of_state(state).state() != state:
        return False
    from effbench.tracking.database import is_finished

    return is_finished(path, kept["experiment"], kept["sweep"], kept["runs"])
