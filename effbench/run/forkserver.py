"""How worker processes begin: forked from a server that imported once what all of them need.

This module imports nothing heavy, so that the server can import torch while the process that begins it does, too.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing import forkserver, util
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from types import ModuleType

FOLDER = "EFFBENCH_FORKSERVER_FOLDER"
"""The variable that tells the server who began it, and in which temporary folder its socket lies."""
MAX_SOCKET_PATH = 104
"""Bytes, with the one that ends it: macOS; Linux takes four more."""
_DONE_WITHOUT = ("-h", "--help", "dry_run=true", "sweep.jobs=1")


def worker_context() -> ForkServerContext | SpawnContext:
    """Return how workers begin: forked from a server where the system has that, else each from nothing."""
    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        # A process of joblib's has a method of its own, which those that it begins would be told and don't know.
        multiprocessing.set_start_method("spawn", force=True)
    if "forkserver" not in multiprocessing.get_all_start_methods() or not _has_room_for_a_socket():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["effbench.run.worker_imports"])
    return context


def _has_room_for_a_socket() -> bool:
    """Whether the server's socket, in a folder of its own in the temporary one, has a path that systems take."""
    name = os.fsencode(os.path.join(tempfile.gettempdir(), "pymp-12345678", "listener-12345678"))
    return len(name) < MAX_SOCKET_PATH


def begin_server() -> None:
    """Begin the server, where there is such a thing; it imports while this process goes on."""
    if worker_context().get_start_method() == "forkserver":
        os.environ[FOLDER] = (
            f"{os.getpid()}:{util.get_temp_dir()}"  # a process that is killed can't take it away itself
        )
        # It inherits the mask: Ctrl-C is for this process, also while the other one does not yet ignore it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_server() -> None:
    """End the server, where it runs: processes that begin from then on have this one's environment as it is now."""
    if getattr(forkserver._forkserver, "_forkserver_pid", None) is not None:
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


def start(process: ForkServerProcess | SpawnProcess, /) -> None:
    """Start a process that knows nothing of this one's main program.

    Python would have it import that: a script that sweeps without asking for its `__name__` would begin once more.
    """
    main, unknown = sys.modules["__main__"], ModuleType("__main__")
    unknown.__spec__ = None
    sys.modules["__main__"] = unknown
    # Ctrl-C waits for it: a process that is sent half of what it needs complains aloud.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if hasattr(signal, "pthread_sigmask") else None
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def take_folder_away(owner: int, /) -> None:
    """Delete the folder of a server's socket: Python does so at the end of whoever began it, unless that is killed.

    Called by a server, whose clients are gone, and by a process that ends without its exit functions. owner: the
    process that began the server; the variable may be that of another one, further up.
    """
    begun_by, _, folder = os.environ.get(FOLDER, "").partition(":")
    if begun_by == str(owner) and os.path.basename(folder).startswith("pymp-"):
        shutil.rmtree(folder, ignore_errors=True)


def begin_server_for(arguments: Sequence[str]) -> None:
    """Begin the server for a command of which nothing is known but its arguments, where it may need workers."""
    launched = any("hydra/launcher" in argument or "hydra.job.env_set" in argument for argument in arguments)
    if not launched and not any(argument in _DONE_WITHOUT for argument in arguments):
        begin_server()
