"""Jobs by a launcher of Hydra's own, or of a plugin: joblib, and whatever else a user has."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig

from effbench.config.launcher_options import compose_launcher
from effbench.run.children import begun_by_this, end_process
from effbench.run.job import Job
from effbench.run.outcomes import RunError
from effbench.run.parcel import Parcel

_LOGGING = ("hydra/hydra_logging", "hydra/job_logging")
"""What Hydra would have launchers say, and jobs, beside what effbench says."""
Returned = tuple[str, RunError | bool]


@dataclass(kw_only=True)
class HydraJobs:
    """A backend of `run.launched`, within a session of Hydra's.

    Such a launcher returns when all jobs have ended, or the first one of which it makes an error: it has a thread.
    """

    overrides: Sequence[str]
    _thread: threading.Thread | None = field(default=None, repr=False)
    _returned: list[Returned] = field(default_factory=list, repr=False)
    _before: set[int] = field(default_factory=set, repr=False)
    """Processes that this one had begun before."""

    def start(self, jobs: Sequence[Job], parcel: Parcel, folder: Path) -> None:
        """Have the launcher launch the jobs, in their order."""
        # After Ctrl-C joblib's own process frees what ended jobs left, and would warn of each such thing.
        os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
        settings = [f"hydra.sweep.dir={folder / 'jobs'}", "hydra.sweep.subdir=${hydra.job.num}"]
        settings += [f"{group}=none" for group in _LOGGING if not any(o.startswith(group) for o in self.overrides)]
        config = compose_launcher([*settings, "hydra.output_subdir=null", *self.overrides])
        context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks())
        task = partial(_call, jobs={job.key: job for job in jobs}, parcel=parcel)
        launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
        self._before = begun_by_this()
        keys = [job.key for job in jobs]
        self._thread = threading.Thread(target=self._launch, args=(launcher, keys), daemon=True, name="launcher")
        self._thread.start()

    def ended(self) -> Iterator[Returned]:
        """Yield jobs that ended, once the launcher has returned; before, their letters tell."""
        while self._returned:
            yield self._returned.pop(0)

    def close(self) -> None:
        """End the processes that the launcher began, unless it is done."""
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(0.2)  # after the last job's letter
            if self._thread.is_alive():
                for pid in begun_by_this() - self._before:
                    end_process(pid)

    def _launch(self, launcher: Launcher, keys: Sequence[str]) -> None:
        try:
            returned: Sequence[JobReturn] = launcher.launch([[f"+launched_job={key}"] for key in keys], 0)
            self._returned += [(key, _value_of(job)) for key, job in zip(keys, returned, strict=True)]
        except BaseException as error:  # all that are not done are lost with it
            self._returned += [(key, RunError.of(error)) for key in keys]


def _call(config: DictConfig, *, jobs: Mapping[str, Job], parcel: Parcel) -> RunError | bool:
    """Run one job, wherever the launcher put it."""
    return jobs[str(config.launched_job)](parcel)


def _value_of(job: JobReturn) -> RunError | bool:
    try:
        value: RunError | bool = job.return_value
        return value
    except Exception as error:  # the launcher itself could not run it
        return RunError.of(error)
