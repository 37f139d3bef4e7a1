"""What the server of workers imports: everything that is slow to get, and no thread that a fork would lose."""

import json
import subprocess
import sys

PROGRAM = """
import json, signal, sys, threading
import effbench.run.worker_imports
import torch
from effbench.codec import kernels
from effbench.compression.structure import fused_kernels

slow = ["torch._dynamo", "effbench.run.workers", "effbench.models", "effbench.codec", "numba"]
print(json.dumps({
    "missing": [name for name in slow if name not in sys.modules],
    "threads": [thread.name for thread in threading.enumerate()],
    "torch_threads": torch.get_num_threads(),
    "ignores_ctrl_c": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    "hydra": [name for name in ("hydra", "mlflow") if name in sys.modules],
}))
"""


def test_it_has_what_is_slow_to_get_and_no_thread_of_its_own(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert finished.stderr == ""
    told = json.loads(finished.stdout)
    assert told == {
        "missing": [],
        "threads": ["MainThread"],
        "torch_threads": 1,
        "ignores_ctrl_c": True,
        "hydra": [],
    }
