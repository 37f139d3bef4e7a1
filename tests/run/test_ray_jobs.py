"""Jobs on Ray: two real nodes on loopback, of which one is killed; what Ray refuses; what is left of a local one."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import torch

from effbench.checks.fields import check_fields
from effbench.run.launched import run_by
from effbench.run.one import run_point
from effbench.run.outcomes import CannotBegin
from effbench.run.ray_jobs import RayJobs, RayOptions
from effbench.run.store import Store

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra is not installed: pip install 'effbench[ray]'"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]
CPU = torch.device("cpu")


def jobs_at(address=None, *, device=CPU, **init):
    options = RayOptions(init={"address": address, **init})
    return RayJobs(options=options, threads=1, at_once=1, device=device)


def end(process):
    """End a process and all that it began, at once."""
    with contextlib.suppress(psutil.Error):
        for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            one.kill()
    process.wait()


@pytest.fixture(scope="module")
def cluster():
    """Begin two nodes of Ray, with authentication; gives the address and the process of the second one."""
    folder = Path(tempfile.mkdtemp(prefix="r-", dir="/tmp"))  # a short path: Ray puts sockets there
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    (folder / "token").write_text(secrets.token_hex(32))
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    # The nodes stand elsewhere, and know nothing of where this process finds its modules.
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")} | access
    common = "--num-cpus=1 --disable-usage-stats --object-store-memory=200000000 --node-ip-address=127.0.0.1 --block"

    def begin(*options):
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options, *common.split()]
        with (folder / f"log-{len(options)}").open("w") as log:
            return subprocess.Popen(command, env=own, cwd=folder, stdout=log, stderr=log)

    head = begin("--head", f"--port={address.partition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}")
    other = None
    try:
        wait_for(lambda: answers(address))
        other = begin(f"--address={address}")
        yield address, other, access
    finally:
        for process in filter(None, (other, head)):
            end(process)
        shutil.rmtree(folder, ignore_errors=True)


def answers(address):
    with contextlib.suppress(OSError), socket.create_connection(tuple(address.split(":")), timeout=1):
        return True
    return False


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def letters(store):
    """Return what the jobs under way have told, by key."""
    paths = (store.root / "launcher").glob("*/*.jsonl")
    return {path.stem: [json.loads(line)[0] for line in path.read_text().splitlines()] for path in paths}


DRIVER = """
import hashlib, json, sys, time
from pathlib import Path
import torch
from effbench.config.read import read_sweep
from effbench.run.launched import run_by
from effbench.run.outcomes import RunError
from effbench.run.ray_jobs import RayJobs, RayOptions, imported_ray
from effbench.run.store import Store

ray = imported_ray(RayOptions())

class Nobody:
    def run_started(self, point): print(json.dumps(["started", point.label]), flush=True)
    def run_began(self, point, seconds): ...
    def step(self, point, step, done, total): ...
    def epoch_ended(self, point, row): print(json.dumps(["epoch", point.label, row["curve"], row["epoch"]]), flush=True)
    def run_computed(self, point): ...

cpu = torch.device("cpu")
address, parts = json.loads(sys.argv[1])
ray.init(address=address, log_to_driver=False, logging_level="ERROR")
while len(ray.nodes()) < 2:
    time.sleep(0.1)
ray.shutdown()
points = [point for arguments, part in parts for point in read_sweep(arguments).plan.points[slice(*part)]]
backend = RayJobs(options=RayOptions(init={"address": address}), threads=1, at_once=None, device=cpu)
for point, outcome in run_by(backend, points, Store(Path("store")), cpu, Nobody(), is_apart=True):
    if isinstance(outcome, RunError):
        told = ["failed", point.label, outcome.summary]
    else:
        digest = hashlib.sha256(outcome.blob).hexdigest()
        told = ["ended", point.label, outcome.was_kept, outcome.cached_steps, digest]
    print(json.dumps(told), flush=True)
print(json.dumps(["done"]), flush=True)
"""


SWEPT = "prune=0.3,0.5,0.7,0.9"


@pytest.mark.waiting
def test_two_nodes_give_the_same_bits_and_another_takes_the_runs_of_one_that_is_killed(cluster, watched, tmp_path):
    """Of seven runs one is there already, one fails, and one dies with its process."""
    address, other, access = cluster
    store, sweep = Store(Path("store")), [[SWEPT], [None]]
    run_point(watched(SWEPT)[2], store, device=CPU)
    shutil.rmtree(store.root / "entries" / "models", ignore_errors=True)
    fails, dies = [["prune=0.97", "prune_granularity=row"], [1, None]], [["+model.dies=true", "prune=0.5"], [1]]
    parts = [[watched.arguments(*arguments), part] for arguments, part in (sweep, fails, dies)]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, json.dumps([address, parts])],
        env=os.environ | access | {"WATCHED_SECONDS": "0.15", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
    )
    told, n_begun, is_over = [], [0], threading.Event()

    def count():
        while not is_over.wait(0.05):
            n_begun[0] = max([*n_begun, *(one.count("started") for one in letters(store).values())])

    counting = threading.Thread(target=count)
    counting.start()
    try:
        for line in driver.stdout:
            told.append(json.loads(line))
            if told[-1][0] == "ended" and told[-1][2] is False and other.poll() is None:
                # The training in common is done: others are under way, on both nodes.
                wait_for(lambda: sum(one[-1] not in ("ended", "failed") for one in letters(store).values()) >= 2)
                end(other)
    finally:
        is_over.set()
        counting.join()
        end(driver)
        driver.stdout.close()
    check_results(told, watched(SWEPT), tmp_path)
    assert n_begun == [2]  # what the killed node had under way was begun anew
    assert not (store.root / "launcher").exists()
    threads, variable, stood = zip(*watched.facts(), strict=True)
    assert (set(threads), set(variable), set(stood)) == ({1}, {os.environ.get("OMP_NUM_THREADS")}, {os.getcwd()})


def check_results(told, points, tmp_path):
    """All that could end well did, with the bits that they have here; the training in common was done once."""
    ended = {label: facts for what, label, *facts in told[:-1] if what == "ended"}
    failed = {label: rest[0] for what, label, *rest in told[:-1] if what == "failed"}
    assert set(ended) == {point.label for point in points}
    assert [label for label, (was_kept, *_) in ended.items() if was_kept] == ["prune=0.5"]
    assert sum("train" not in cached for was_kept, cached, _ in ended.values() if not was_kept) == 1
    for point in points:
        here = run_point(point, Store(tmp_path / "here"), device=CPU)
        assert ended[point.label][-1] == hashlib.sha256(here.blob).hexdigest()
    assert len(failed) == 2
    assert failed.pop("prune=0.97, prune_granularity=row").startswith("ValueError: ratio=0.97: must be at most")
    assert failed.popitem()[1].startswith("the worker process died (exit status 7)")
    epochs = [tuple(rest) for what, *rest in told[:-1] if what == "epoch"]
    assert len(epochs) == len(set(epochs)) and ("prune=0.9", "finetune", 2) in epochs


def test_an_address_at_which_nobody_answers_is_refused_at_once(tmp_path, watched, recorder):
    began, points = time.monotonic(), watched("prune=0.5")
    with pytest.raises(CannotBegin, match=r"^hydra.launcher.ray.init.address=127.0.0.1:1: nobody answers there \("):
        run_by(jobs_at("127.0.0.1:1"), points, Store(tmp_path / "s"), CPU, recorder)
    assert time.monotonic() - began < 10
    assert recorder.told == [] and not (tmp_path / "s" / "launcher").exists()


@pytest.mark.parametrize(
    "init, remote, message",
    [
        ({"num_cpu": 2}, {}, r"^hydra.launcher.ray.init.num_cpu: Ray's init has no such option; it has address, "),
        ({}, {"num_cpu": 2}, "^hydra.launcher.ray.remote: Invalid option keyword num_cpu"),
        ({}, {"num_cpus": -2}, "^hydra.launcher.ray.remote: .*cannot be negative"),
        ({"num_cpus": 2, "_temp_dir": "/tmp"}, {"num_cpus": 2, "max_retries": 0}, None),
    ],
)
def test_options_that_ray_does_not_know_are_refused(init, remote, message):
    backend = RayJobs(options=RayOptions(init=init, remote=remote), threads=1, at_once=None, device=CPU)
    if message is None:
        backend.check()
    else:
        with pytest.raises(ValueError, match=message):
            backend.check()


def test_a_ray_of_the_machine_is_not_taken_unasked(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert jobs_at().address == "local"
    monkeypatch.setenv("RAY_ADDRESS", "there:6379")
    assert (jobs_at().address, jobs_at("here:1").address) == ("there:6379", "here:1")
    with pytest.raises(ValueError, match=r"^init=3: must be a mapping"):
        check_fields(RayOptions(init=3))
