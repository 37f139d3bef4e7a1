"""Jobs by a launcher of Hydra's: what it returns, what it raises, what it leaves running."""

import subprocess
import sys
import threading
import time

from hydra.core.utils import JobReturn, JobStatus

from effbench.config.hydra_jobs import HydraJobs
from effbench.run.children import begun_by_this
from effbench.run.outcomes import RunError


class Launches:
    """A launcher that does what it is told."""

    def __init__(self, launch):
        self.launch = launch


def job_return(value):
    return JobReturn(
        _return_value=value, status=JobStatus.FAILED if isinstance(value, ConnectionError) else JobStatus.COMPLETED
    )


def test_each_job_has_what_the_launcher_returned_of_it():
    jobs = HydraJobs(overrides=())
    values = [True, RunError("failed", ""), ConnectionError("the cluster is gone")]
    jobs._launch(Launches(lambda overrides, first: [job_return(value) for value in values]), ["a", "b", "c"])
    told = dict(jobs.ended())
    assert told["a"] is True and told["b"] is values[1]
    assert told["c"].summary == "ConnectionError: the cluster is gone"
    assert dict(jobs.ended()) == {}


def test_what_the_launcher_raises_is_the_end_of_all_that_are_not_done():
    def fail(overrides, first):
        assert overrides == [["+launched_job=a"], ["+launched_job=b"]]
        raise SystemExit("no more")

    jobs = HydraJobs(overrides=())
    jobs._launch(Launches(fail), ["a", "b"])
    assert {key: error.summary for key, error in jobs.ended()} == dict.fromkeys("ab", "SystemExit: no more")


def test_what_it_began_is_ended_and_nothing_else():
    mine = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    jobs = HydraJobs(overrides=())
    jobs._before = begun_by_this()
    begun, is_over = [], threading.Event()

    def launch():
        begun.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        is_over.wait(60)

    jobs._thread = threading.Thread(target=launch, daemon=True)
    jobs._thread.start()
    while not begun:
        time.sleep(0.01)
    jobs.close()
    assert begun[0].wait(10) != 0
    assert mine.poll() is None
    is_over.set()
    jobs._thread.join(10)
    mine.communicate(b"\n")
