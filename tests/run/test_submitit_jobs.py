"""Jobs by submitit: on this machine, as many at once as fit; by Slurm, whose commands are played here."""

import contextlib
import os
import shutil
import stat
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from effbench.checks.owner import Owner
from effbench.run.launched import run_by
from effbench.run.one import run_point
from effbench.run.outcomes import CannotBegin, RunError
from effbench.run.store import Store
from effbench.run.submitit_jobs import LocalOptions, SlurmOptions, SubmititJobs

pytestmark = pytest.mark.skipif(
    find_spec("submitit") is None, reason="the extra is not installed: pip install 'effbench[submitit]'"
)
CPU = torch.device("cpu")
BY_FILE = {"with_environment": False, "caller": Owner.here()}


@pytest.mark.waiting
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_jobs_of_this_machine_give_the_same_bits_and_one_that_dies_fails_alone(
    watched, tmp_path, recorder, monkeypatch
):
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "s3cret")
    points = watched("prune=0.5") + watched("+model.dies=true", "prune=0.5")[:1]
    backend, store = SubmititJobs(options=LocalOptions(), cluster="local", threads=1, at_once=2), Store(Path("store"))
    outcomes, files = [], []
    for point, outcome in run_by(backend, points, store, CPU, recorder, **BY_FILE):
        files = files or list((store.root / "launcher").rglob("*.pkl"))
        assert not any(b"s3cret" in path.read_bytes() for path in files)
        assert len(backend._under_way) <= 2
        outcomes.append((points.index(point), outcome))
    outcomes = [outcome for _, outcome in sorted(outcomes, key=lambda pair: pair[0])]
    assert files
    for point, outcome in zip(points[:2], outcomes, strict=False):
        assert outcome.blob == run_point(point, Store(tmp_path / "here"), device=CPU).blob
    assert outcomes[2].summary.startswith("the job ") and "died (" in outcomes[2].summary
    assert outcomes[2].summary.endswith("The same command runs it again")
    assert {(threads, stood) for threads, _, stood in watched.facts()} == {(1, os.getcwd())}
    assert not (store.root / "launcher").exists()


SLURM = """#!{python}
import os, subprocess, sys
from pathlib import Path
name, log = Path(sys.argv[0]).name, Path({log!r})
with log.open("a") as stream:
    print(name, *sys.argv[1:], file=stream)
if name == "sbatch":
    (log.parent / "submission.sh").write_text(Path(sys.argv[-1]).read_text())
    print("Submitted batch job 77")
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Have sbatch, scancel and the like on the PATH, which only write down how they are called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel", "squeue"):
        path = folder / name
        path.write_text(SLURM.format(python=sys.executable, log=str(tmp_path / "log")))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return tmp_path


def test_slurm_gets_all_jobs_at_once_with_their_options_and_they_are_cancelled(slurm, tiny_points, recorder):
    options = SlurmOptions(partition="gpu", mem_gb=4, timeout_min=90, additional_parameters={"mail-type": "END"})
    backend = SubmititJobs(options=options, cluster="slurm", threads=3, at_once=1)
    backend.check()
    points = tiny_points("prune=0.3,0.5")
    runs = run_by(backend, points, Store(slurm / "s"), CPU, recorder, **BY_FILE)
    with contextlib.closing(runs):
        assert len(backend._under_way) == 3
        assert stat.S_IMODE(next((slurm / "s" / "launcher").iterdir()).stat().st_mode) == 0o700
    script = (slurm / "submission.sh").read_text()
    for line in ("--partition=gpu", "--mem=4GB", "--time=90", "--mail-type=END", "--cpus-per-task=3", "--array=0-2"):
        assert f"#SBATCH {line}" in script, script
    cancelled = [line for line in (slurm / "log").read_text().splitlines() if line.startswith("scancel")]
    assert cancelled == [f"scancel 77_{number}" for number in range(3)]
    assert not (slurm / "s" / "launcher").exists()


def test_what_sbatch_refuses_is_told_before_anything_runs(slurm, tiny_points, recorder):
    (slurm / "bin" / "sbatch").write_text(
        "#!/bin/sh\necho 'sbatch: error: invalid partition specified: no' >&2\nexit 1\n"
    )
    backend = SubmititJobs(options=SlurmOptions(partition="no"), cluster="slurm", threads=1, at_once=1)
    with pytest.raises(CannotBegin, match=r"^hydra/launcher=submitit_slurm: .*invalid partition specified: no"):
        run_by(backend, tiny_points("prune=0.5"), Store(slurm / "s"), CPU, recorder, **BY_FILE)
    assert recorder.told == []


def test_slurm_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"^hydra/launcher=submitit_slurm: there is no sbatch here"):
        SubmititJobs(options=SlurmOptions(), cluster="slurm", threads=1, at_once=1).check()
    SubmititJobs(options=LocalOptions(), cluster="local", threads=1, at_once=1).check()


@pytest.mark.parametrize(
    "kind, options, message",
    [
        (LocalOptions, {"timeout_min": 0}, "timeout_min=0: must be a whole number, 1 or more"),
        (LocalOptions, {"timeout_min": "1h"}, "timeout_min=1h: must be a whole number, 1 or more"),
        (LocalOptions, {"nodes": 2}, "nodes=2: must be 1"),
        (LocalOptions, {"tasks_per_node": 4}, "tasks_per_node=4: must be 1"),
        (SlurmOptions, {"array_parallelism": 0}, "array_parallelism=0: must be a whole number, 1 or more"),
        (SlurmOptions, {"gpus_per_node": -1}, "gpus_per_node=-1: must be a whole number, 0 or more, or null"),
        (SlurmOptions, {"setup": "module load cuda"}, "setup=module load cuda: must be a list"),
    ],
)
def test_options_that_can_not_be_are_refused(kind, options, message):
    with pytest.raises(ValueError, match="must be") as refused:
        kind(**options)
    assert str(refused.value).startswith(message)


def test_a_job_that_was_lost_is_an_error_of_its_run(tiny_points):
    class Lost:
        job_id = 7

        def done(self):
            return True

        def result(self):
            raise RuntimeError("Job 7 failed\n\nslurmstepd: error: Detected 1 oom-kill event")

    backend = SubmititJobs(options=LocalOptions(), cluster="local", threads=1, at_once=1, _under_way={"key": Lost()})
    ((key, error),) = backend.ended()
    assert key == "key" and isinstance(error, RunError)
    assert error.summary.startswith("the job 7 died (slurmstepd: error: Detected 1 oom-kill event)")
