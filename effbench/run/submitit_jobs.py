"""Jobs by submitit: on this machine, or on a cluster by Slurm.

submitit writes each job with pickle into its folder, and reads what it returned from there; the folder is this
command's own, closed to others, and deleted at its end. So neither variables nor objects from Python go that way.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from effbench.checks.errors import first_line
from effbench.checks.fields import check_fields
from effbench.run.children import end_process
from effbench.run.job import Job
from effbench.run.outcomes import CannotBegin, RunError
from effbench.run.parcel import Parcel

AtLeastOne = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """Options of submitit's on this machine, as hydra-submitit-launcher calls them. One run is one task on one node."""

    timeout_min: AtLeastOne = 60
    cpus_per_task: AtLeastOne | None = None
    gpus_per_node: NotNegative | None = None
    tasks_per_node: Literal[1] = 1
    mem_gb: AtLeastOne | None = None
    nodes: Literal[1] = 1
    name: str = "effbench"
    stderr_to_stdout: bool = False

    def __post_init__(self) -> None:
        """Refuse what submitit or its scheduler could only refuse later."""
        check_fields(self)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the executor is told, under submitit's names."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        given.pop("max_num_timeout", None)  # which the executor is begun with
        return {n if n in LocalOptions.__dataclass_fields__ else f"slurm_{n}": value for n, value in given.items()}


@dataclass(frozen=True, kw_only=True)
class SlurmOptions(LocalOptions):
    """Options of submitit's by Slurm; those of sbatch have its names."""

    partition: str | None = None
    qos: str | None = None
    comment: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    cpus_per_gpu: AtLeastOne | None = None
    gpus_per_task: AtLeastOne | None = None
    mem_per_gpu: str | None = None
    mem_per_cpu: str | None = None
    account: str | None = None
    signal_delay_s: NotNegative = 120
    max_num_timeout: NotNegative = 0
    additional_parameters: Mapping[str, Any] = field(default_factory=dict)
    array_parallelism: AtLeastOne = 256
    setup: Sequence[str] | None = None


@dataclass(kw_only=True)
class SubmititJobs:
    """A backend of `run.launched`."""

    options: LocalOptions
    cluster: Literal["local", "slurm"]
    threads: int
    """Of a run: the cores that a job asks for."""
    at_once: int
    """Jobs on this machine; a scheduler has an order of its own."""
    _waiting: list[Job] = field(default_factory=list, repr=False)
    _under_way: dict[str, Any] = field(default_factory=dict, repr=False)
    _parcel: Parcel = field(default_factory=Parcel, repr=False)
    _executor: Any = field(default=None, repr=False)

    def check(self) -> None:
        """Refuse Slurm where there is none. ValueError."""
        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise ValueError(
                "hydra/launcher=submitit_slurm: there is no sbatch here; run it where Slurm's jobs are submitted, or "
                "take hydra/launcher=submitit_local"
            )

    def start(self, jobs: Sequence[Job], parcel: Parcel, folder: Path) -> None:
        """Submit the jobs: all to a scheduler, as many as fit to this machine."""
        import submitit

        folder.chmod(0o700)
        more = {"slurm_max_num_timeout": o.max_num_timeout} if isinstance(o := self.options, SlurmOptions) else {}
        try:
            self._executor = submitit.AutoExecutor(folder / "%j", cluster=self.cluster, **more)
            self._executor.update_parameters(**{"cpus_per_task": self.threads, **self.options.parameters})
            self._parcel = parcel
            self._submit(jobs if self.cluster == "slurm" else jobs[: self.at_once])
        except Exception as error:  # what sbatch says of options among it
            raise CannotBegin(f"hydra/launcher=submitit_{self.cluster}: {_gist(error)}") from None
        self._waiting = [job for job in jobs if job.key not in self._under_way]

    def ended(self) -> Iterator[tuple[str, RunError | bool]]:
        """Yield jobs that ended, and submit others in their place."""
        for key, job in list(self._under_way.items()):
            if job.done():
                del self._under_way[key]
                yield key, _outcome(job)
        n_free = self.at_once - len(self._under_way)
        if self._waiting and n_free > 0:
            now, self._waiting = self._waiting[:n_free], self._waiting[n_free:]
            self._submit(now)

    def close(self) -> None:
        """Cancel what is under way."""
        for job in self._under_way.values():
            with suppress(Exception):
                if self.cluster == "local":
                    end_process(int(job.job_id))
                else:
                    job.cancel(check=False)

    def _submit(self, jobs: Sequence[Job]) -> None:
        with _paths_in_the_environment():
            submitted = self._executor.map_array(_call, jobs, [self._parcel] * len(jobs))
        self._under_way |= {job.key: one for job, one in zip(jobs, submitted, strict=True)}


def _call(job: Job, parcel: Parcel) -> RunError | bool:
    return job(parcel)


def _outcome(job: Any) -> RunError | bool:
    """Return what a job returned, or how it died."""
    try:
        outcome: RunError | bool = job.result()
        return outcome
    except Exception as error:
        what = f"the job {job.job_id} died ({_gist(error)}); out of memory, or of its time (timeout_min)?"
        return RunError(f"{what} The same command runs it again", str(error))


_OF_SUBMITIT = ("submitit INFO", "submitit WARNING", "Error stream produced")
"""What submitit itself writes into the log of any job."""
MOST_TOLD = 200
"""Characters of a job's own words: what to do stands behind them."""


def _gist(error: BaseException) -> str:
    """Return what an exception of submitit's says, in one line: what it was about is in its first, why in its last."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line.strip("- ") and not line.startswith(_OF_SUBMITIT)]
    found = first_line(told[-1] if told and len(lines) < 40 else error) or type(error).__name__
    return found if len(found) <= MOST_TOLD else f"{found[:MOST_TOLD]}…"


@contextmanager
def _paths_in_the_environment() -> Iterator[None]:
    """Have jobs find effbench where this process does."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in sys.path if path))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
