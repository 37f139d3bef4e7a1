"""Imported once by the server from which workers fork: what every run needs and what takes seconds to get."""

import atexit
import os
import signal
import threading
import time

from effbench.run.forkserver import take_folder_away

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started the sweep
_parent = os.getppid()
_is_done = threading.Event()


def _tidy_up() -> None:
    """Take the socket's folder away when whoever began the server is gone; one that lives on needs it again."""
    for _ in range(20):
        if os.getppid() != _parent:
            take_folder_away(_parent)
            return
        time.sleep(0.05)


atexit.register(_tidy_up)  # the server ends when all of its clients are gone; workers never come here


def _end_with_parent() -> None:
    """End the server when whoever began it is gone: it would only notice after its imports."""
    while not _is_done.wait(0.05):
        if os.getppid() != _parent:
            take_folder_away(_parent)
            os._exit(0)


_watch = threading.Thread(target=_end_with_parent, daemon=True)
_watch.start()

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch._dynamo  # noqa: E402 (every optimiser imports it)

import effbench.data.digits  # noqa: E402
import effbench.models  # noqa: E402
import effbench.run.workers  # noqa: E402
import effbench.tasks.classification  # noqa: E402, F401
from effbench.codec import decode, encode  # noqa: E402
from effbench.compression.structure import fused_kernels  # noqa: E402
from effbench.training.precision import suited_precision  # noqa: E402

# The loops of coder and training: numba loads their machine code on first use. One thread, as none would survive the
# fork; for the same reason no gradient is asked of torch here.
torch.set_num_threads(1)
_network = torch.nn.Linear(32, 32)
decode(encode(_network), _network)
fused_kernels.load(np.float32 if suited_precision(torch.device("cpu"), is_grouped=False) == "float32" else np.uint16)

_is_done.set()
_watch.join()
