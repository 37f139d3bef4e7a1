"""The process of LiteRT's own interpreter, as effbench speaks to it: see `litert_child`, which is what it runs."""

from __future__ import annotations

import ast
import atexit
import json
import os
import shutil
import subprocess
import tempfile
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from effbench.checks.errors import first_line
from effbench.measure.cores import count_as_others, count_as_own

_SCRIPT = Path(__file__).with_name("litert_child.py")
_OPTIONS = ("-I",)
"""The interpreter sees its own packages alone, not those of PYTHONPATH."""
_SECONDS_TO_END = 10
_VERSIONS = """
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in ("ai-edge-litert", "torch"):
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(found)
"""
PACKAGES = ("ai_edge_litert", "litert_torch", "torch", "numpy")


class LitertProcess:
    """A process that holds networks. RuntimeError, in a line, where a request fails or the process has ended."""

    def __init__(self, python: str, /) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="effbench-litert-"))
        self._process = subprocess.Popen(
            [python, *_OPTIONS, str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        self._dropped: list[int] = []
        count_as_own(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether it answers."""
        return self._process.poll() is None

    def convert(self, program: Path, file: Path, /) -> None:
        """Write the file of an exported program (.pt2)."""
        self._request("convert", program=str(program), file=str(file))

    def load(self, file: Path, example: Tensor, /, *, threads: int) -> HeldModel:
        """Have it hold the network of a file, to be timed on `example`; the file may be gone afterwards."""
        path = self._write(example)
        number = self._request("load", file=str(file), threads=threads, example=path)["model"]
        held = HeldModel(self, number)
        # In whatever is being said when the garbage is collected, nothing may be said in between.
        weakref.finalize(held, self._dropped.append, number)
        return held

    def seconds(self, number: int, /) -> float:
        """Return how long an inference on the example takes, by the process's own clock."""
        return float(self._request("time", model=number)["seconds"])

    def outputs(self, number: int, values: Tensor, /) -> Tensor:
        """Return what a network gives for an input."""
        path = str(self._folder / "outputs.npy")
        self._request("outputs", model=number, inputs=self._write(values), outputs=path)
        return torch.from_numpy(np.load(path))

    def end(self) -> None:
        """End the process, and take its files away."""
        if self.is_alive:
            try:
                self._process.communicate(json.dumps({"command": "quit"}) + "\n", timeout=_SECONDS_TO_END)
            except (subprocess.TimeoutExpired, OSError):
                self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait()
        count_as_others(self._process.pid)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, values: Tensor) -> str:
        path = self._folder / "inputs.npy"
        np.save(path, np.ascontiguousarray(values.numpy()))
        return str(path)

    def _request(self, command: str, **options: object) -> dict[str, Any]:
        if self._dropped and command != "drop":
            models = [self._dropped.pop() for _ in range(len(self._dropped))]
            self._request("drop", models=models)
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None
        try:
            requests.write(json.dumps({"command": command, **options}) + "\n")
            requests.flush()
            line = answers.readline()
        except OSError:  # its end of the pipe is closed
            line = ""
        if not line:
            raise RuntimeError(f"LiteRT's process has ended (exit status {self._process.wait()})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(first_line(answer["error"]))
        return answer


class HeldModel:
    """A network that the process holds as long as this is there."""

    def __init__(self, process: LitertProcess, number: int) -> None:
        self._process, self._number = process, number

    def seconds(self) -> float:
        """See `LitertProcess.seconds`."""
        return self._process.seconds(self._number)

    def outputs(self, values: Tensor) -> Tensor:
        """See `LitertProcess.outputs`."""
        return self._process.outputs(self._number, values)


_running: dict[tuple[str, int], LitertProcess] = {}
"""By interpreter, and by the process that started it: a fork has none of its own."""


def process_of(python: str, /) -> LitertProcess:
    """Return the one process of an interpreter, which is started if it isn't there. It ends with this one."""
    key = (python, os.getpid())
    if key in _running and not _running[key].is_alive:
        _running.pop(key).end()
    if key not in _running:
        _running[key] = LitertProcess(python)
    return _running[key]


@atexit.register
def end_all() -> None:
    """End the processes that this one has started."""
    for python, starter in list(_running):
        if starter == os.getpid():
            _running.pop((python, starter)).end()


@cache
def package_versions(python: str, /) -> dict[str, str]:
    """Return the versions of what times depend on, by the names of distributions. ValueError where it can't be told."""
    try:
        told = subprocess.run([python, *_OPTIONS, "-c", _VERSIONS], capture_output=True, text=True, check=True).stdout
        return dict(ast.literal_eval(told.strip()))
    except (OSError, ValueError, SyntaxError, subprocess.CalledProcessError) as error:
        raise ValueError(f"{python} does not tell the versions of its packages ({first_line(error)})") from None


@cache
def missing_packages(python: str, /) -> tuple[str, ...]:
    """Return which of `PACKAGES` an interpreter lacks. ValueError, in a line, where it is none."""
    code = f"import importlib.util as u; print([p for p in {PACKAGES!r} if u.find_spec(p) is None])"
    try:
        told = subprocess.run([python, *_OPTIONS, "-c", code], capture_output=True, text=True, check=True).stdout
        return tuple(name for name in PACKAGES if f"'{name}'" in told)
    except FileNotFoundError:
        raise ValueError("there is no such program") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f"it is no Python interpreter ({first_line(error)})") from None
