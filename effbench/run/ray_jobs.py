"""Jobs on Ray: a local one, begun for the sweep, or a cluster that runs already."""

from __future__ import annotations

import inspect
import logging
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from effbench.checks.errors import first_line, kind_and_line
from effbench.checks.fields import check_fields
from effbench.run.interruption import was_requested
from effbench.run.job import Job
from effbench.run.outcomes import CannotBegin, RunError
from effbench.run.parcel import Parcel, carrier, seal

LOCAL_MEMORY = 200 * 2**20
"""Bytes of a local Ray's object store: results come through effbench's own."""
LONGEST_FOLDER = 40
"""Bytes of the path of Ray's folder, in which it puts sockets: their paths have 107 at most."""
PROBE_SECONDS = 5.0
_OF_RAY = r"\braylet\b|retries remaining"
"""What is in Ray's lines on its own machines and retries."""
_INIT, _REMOTE = "hydra.launcher.ray.init", "hydra.launcher.ray.remote"


@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """Options of `ray.init` and of `ray.remote`, under the names that they have there."""

    init: Mapping[str, Any] = field(default_factory=dict)
    remote: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is no mapping."""
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class RayJobs:
    """A backend of `run.launched`."""

    options: RayOptions
    threads: int
    """Of a run: the cores that a job asks for."""
    at_once: int | None
    """Jobs of a local Ray; None: as many as fit its cores."""
    device: torch.device
    _keys: dict[Any, str] = field(default_factory=dict, repr=False)
    """Of the jobs under way, by what Ray gives for each."""
    _begun: list[Path | None] = field(default_factory=list, repr=False)
    """Whether Ray was connected to from here; the folder of one that was begun."""

    @property
    def address(self) -> str:
        """Where Ray is: `local` begins one. One of the machine is not taken unasked, as Ray would do."""
        return str(self.options.init.get("address") or os.environ.get("RAY_ADDRESS") or "local")

    def check(self) -> None:
        """Refuse options that Ray does not know. ValueError."""
        ray = imported_ray(self.options)
        known = [name for name in inspect.signature(ray.init).parameters if name not in ("kwargs", "job_config")]
        for name in self.options.init:
            if name not in known and not name.startswith("_"):
                raise ValueError(f"{_INIT}.{name}: Ray's init has no such option; it has {', '.join(sorted(known))}")
        try:
            ray.remote(**{"num_cpus": 1, **self.options.remote})(carrier())
        except (ValueError, TypeError, AssertionError) as error:
            raise ValueError(f"{_REMOTE}: {first_line(error)}") from None

    def start(self, jobs: Sequence[Job], parcel: Parcel, folder: Path) -> None:
        """Connect to Ray, or begin one, and have it run the jobs as it has room for them."""
        ray = imported_ray(self.options)
        if not ray.is_initialized():
            self._begin(len(parcel.objects))
        gpus = {"num_gpus": 1} if self.device.type == "cuda" else {}
        options = {"num_cpus": self.threads, **gpus, **self.options.remote}
        carry, sent = carrier(), ray.put(seal(parcel))
        for job in jobs:
            task = ray.remote(**{"name": job.name, **options})(carry)
            self._keys[task.remote(list(parcel.paths), seal(job), sent)] = job.key

    def ended(self) -> Iterator[tuple[str, RunError | bool]]:
        """Yield jobs that ended."""
        import ray

        if not self._keys:
            return
        done, _ = ray.wait(list(self._keys), num_returns=len(self._keys), timeout=0)
        for ref in done:
            key = self._keys.pop(ref)
            try:
                yield key, ray.get(ref)
            except Exception as error:  # whatever became of its machine, after Ray has tried it on others
                what = f"Ray lost the job ({_gist(error)}); the same command runs it again"
                yield key, RunError(what, str(error))

    def close(self) -> None:
        """Cancel what is under way, and leave Ray as it was found."""
        if not self._begun:
            return
        import ray

        local = self._begun[0]
        if local is None or not was_requested():  # else the processes of a local one are ended already
            for ref in self._keys:
                with suppress(Exception):
                    ray.cancel(ref, force=True)
            ray.shutdown()
        if local is not None:
            shutil.rmtree(local, ignore_errors=True)

    def _begin(self, n_bytes: int) -> None:
        import ray

        init: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, **self.options.init}
        init["address"] = self.address
        local: Path | None = None
        if self.address == "local":
            local = Path(tempfile.mkdtemp(prefix="ray-", dir=_short_folder()))
            cores = {} if self.at_once is None else {"num_cpus": self.at_once * self.threads}
            memory = max(LOCAL_MEMORY, 3 * n_bytes)
            of_its_own = {"object_store_memory": memory, "include_dashboard": False, "_temp_dir": str(local), **cores}
            init = {**of_its_own, **init}
        else:
            _probe(self.address)
        try:
            with _signals_kept():
                ray.init(**init)
        except Exception as error:
            if local is not None:
                shutil.rmtree(local, ignore_errors=True)
            raise CannotBegin(f"hydra/launcher=ray: Ray can't be used ({kind_and_line(error)})") from None
        self._begun.append(local)


def imported_ray(options: RayOptions) -> ModuleType:
    """Return Ray, which says nothing of its own on standard output unless its options ask for that."""
    quiet = {} if options.init.get("log_to_driver") else {"RAY_DEDUP_LOGS_SKIP_REGEX": _OF_RAY}
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", **quiet}.items():
        os.environ.setdefault(name, value)
    return import_module("ray")


def _gist(error: BaseException) -> str:
    """Return what an exception of Ray's says in one line: of a job's traceback, the last one."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return first_line(lines[-1] if len(lines) > 1 and "Traceback" in text else text) or type(error).__name__


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep the handlers of this process: Ray puts one of its own in the place of that of SIGTERM."""
    try:
        before = signal.getsignal(signal.SIGTERM)
        yield
    finally:
        with suppress(ValueError):  # in a thread, where Ray changes nothing
            signal.signal(signal.SIGTERM, before)


def _short_folder() -> str:
    """Return a folder for temporary files whose path is short enough for Ray's sockets."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= LONGEST_FOLDER or not os.path.isdir("/tmp") else "/tmp"


def _probe(address: str) -> None:
    """Refuse an address at which nobody answers: Ray itself would ask again and again."""
    place = re.fullmatch(r"(?:ray://)?(?P<host>[^/\s]+):(?P<port>\d+)", address)
    if place is None:  # auto, or what Ray itself explains
        return
    try:
        socket.create_connection((place["host"].strip("[]"), int(place["port"])), timeout=PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise CannotBegin(
            f"{_INIT}.address={address}: nobody answers there ({first_line(error)}); a cluster begins with "
            f"'ray start --head --port={place['port']}', and other machines join it by 'ray start --address={address}'"
        ) from None
