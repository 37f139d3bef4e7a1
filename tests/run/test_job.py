"""A run as a job: what it returns and tells, where it stands, what ends it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from effbench.checks.owner import Owner, start_of
from effbench.run import job as jobs
from effbench.run.job import Job
from effbench.run.letters import LetterReader
from effbench.run.one import run_point
from effbench.run.outcomes import RunError
from effbench.run.parcel import Parcel, seal


@pytest.fixture
def make_job(store, tmp_path):
    def make(point, **changes):
        defaults = {"timeout": None, "is_apart": False, "device": "cpu", "store": store}
        letters = tmp_path / f"{point.key}.jsonl"
        return Job(key=point.key, name=str(point), point=seal(point), letters=letters, **{**defaults, **changes})

    return make


def test_it_leaves_its_result_in_the_store_and_tells_of_its_epochs(make_job, tiny_points, store, tmp_path):
    point = tiny_points("prune=0.5")[1]
    job, parcel = make_job(point), Parcel.of([point])
    assert job(parcel) is False
    assert job(parcel) is True  # it was kept
    result = run_point(point, store, device="cpu")
    assert result.was_kept and result.metrics["accuracy"] > 0
    told = list(LetterReader(job.letters).read())
    assert [message[0] for message in told if message[0] != "step"] == [
        *("started", "began", "epoch", "epoch", "ended"),
        *("started", "ended"),
    ]
    assert [message[1] for message in told if message[0] == "ended"] == [False, True]


def test_what_goes_wrong_is_returned_and_told(make_job, tiny_points, tmp_path, monkeypatch):
    points = tiny_points("prune=0.97", "prune_granularity=row")
    job = make_job(points[1])
    error = job(Parcel.of(points))
    assert isinstance(error, RunError) and error.summary.startswith("ValueError: ratio=0.97: must be at most")
    assert list(LetterReader(job.letters).read())[-1][:2] == ["failed", str(error)]
    monkeypatch.chdir(tmp_path)
    elsewhere = Parcel(folder=str(tmp_path / "none"))
    gone = make_job(points[0])(elsewhere)
    assert f"{tmp_path / 'none'} can't be entered on " in gone.summary and gone.errno == 2
    assert "must see the working folder and the store under the same paths" in gone.summary


ENDS_WITH = """
import os, sys, threading, time
from effbench.checks.owner import Owner
from effbench.run import job
job.SECONDS_BETWEEN_LOOKS = 0.05
threading.Thread(target=job._end_with, args=(Owner.of_text(sys.argv[1]),), daemon=True).start()
print("goes on", flush=True)
time.sleep(60)
"""


def test_it_ends_with_its_caller(monkeypatch):
    """A scheduler lets a job run on whose command was killed."""
    caller = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner(Owner.here().host, caller.pid, start_of(caller.pid))
    environment = os.environ | {"PYTHONPATH": str(Path(jobs.__file__).parents[2])}
    job = subprocess.Popen([sys.executable, "-c", ENDS_WITH, str(owner)], stdout=subprocess.PIPE, env=environment)
    with job.stdout:
        assert job.stdout.readline() == b"goes on\n"
        assert job.poll() is None
        caller.communicate(b"\n")
        assert job.wait(30) == 1
