"""What another process needs of this one."""

import os
import pickle
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from effbench.plan.blueprint import Blueprint
from effbench.plan.given import Given, given_object, keep
from effbench.plan.given_networks import give_factory, give_network
from effbench.run.apart import call_apart
from effbench.run.parcel import Parcel, carrier, seal, why_not_sent


def facts_of_a_child(blueprint, *, report):
    """Return what a child process knows: what a network gives, and where it stands."""
    network = blueprint.build()
    return network(torch.ones(1, 3)).tolist(), os.getcwd(), os.environ.get("EFFBENCH_TEST"), sys.path[0]


def notebook_class():
    """Return a class as a cell of a notebook defines it."""
    namespace = {"__name__": "__main__", "nn": nn, "torch": torch}
    exec("class Net(nn.Linear):\n def forward(self, x): return super().forward(x) * 2", namespace)
    return namespace["Net"]


def test_it_is_empty_where_nothing_was_given(make_chain):
    parcel = Parcel.of([make_chain()])
    assert parcel.objects == b"" and parcel.folder == os.getcwd()


def test_what_a_plan_names_is_in_it_wherever_it_stands(make_chain):
    target = give_network(nn.Linear(3, 2))
    for plan in (
        [make_chain(network=Blueprint(target))],
        {"teacher": Blueprint("my.net", {"teacher": target})},
        (Blueprint("my.net", {"nets": [target]}),),
    ):
        assert Parcel.of(plan).objects


def test_a_child_gets_objects_and_stands_where_this_process_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EFFBENCH_TEST", "as set later")
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    network = notebook_class()(3, 2)
    found = call_apart(facts_of_a_child, Blueprint(give_network(network)))
    assert found[0] == network(torch.ones(1, 3)).tolist()
    assert found[1:] == (str(tmp_path), "as set later", str(tmp_path / "own"))


def test_the_objects_alone_are_taken_elsewhere(monkeypatch):
    target = give_factory(lambda: nn.Identity(), what="model")
    monkeypatch.setattr("effbench.plan.given._given", {target: given_object(target)})
    sent = pickle.dumps(Parcel.of(Blueprint(target)))
    monkeypatch.setattr("effbench.plan.given._given", {})
    monkeypatch.setattr(os, "chdir", None)
    pickle.loads(sent).take_objects()
    assert isinstance(Blueprint(target).build(), nn.Identity)


def test_what_can_not_be_sent_is_told_in_a_line():
    target = keep(Given(name="Locked", content="0" * 16, build=threading.Lock().acquire))
    assert "Locked can't be sent to another process (TypeError" in why_not_sent(Blueprint(target))
    assert why_not_sent(Blueprint("torch.nn.Identity")) is None
    with pytest.raises(ValueError, match="Locked can't be sent"):
        Parcel.of(Blueprint(target))


def test_in_a_process_of_a_scheduler_it_brings_variables_and_paths_and_leaves_the_machines_own(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(
        os, "environ", {"OMP_NUM_THREADS": "7", "CUDA_VISIBLE_DEVICES": "1", "HOME": "h", "DATA": "old"}
    )
    monkeypatch.setattr(sys, "path", ["own"])
    monkeypatch.chdir(tmp_path)
    theirs = {"MKL_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "0", "HOME": "x", "DATA": "new", "SLURM_JOB_ID": "3"}
    theirs["A"] = "b"
    Parcel(folder=str(tmp_path / "there"), paths=("", "/more", "own"), environment=theirs).join()
    assert os.environ == {"MKL_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "1", "HOME": "h", "DATA": "new", "A": "b"}
    assert sys.path == ["/more", "own"]
    assert os.getcwd() == str(tmp_path / "there")
    with pytest.raises(FileNotFoundError):
        Parcel(folder=str(tmp_path / "none")).join()


def test_variables_stay_where_they_would_go_into_a_file(make_chain, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    assert "s3cret" in str(Parcel.of([make_chain()]).environment)
    assert "s3cret" not in str(Parcel.of([make_chain()], with_environment=False).environment)


def test_what_is_carried_needs_nothing_that_is_found_here(tmp_path):
    """A process that knows neither this one's paths nor effbench calls what was sealed."""
    (tmp_path / "away.py").write_text("def double(value): return 2 * value\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import away

        sent = seal((carrier(), seal(away.double), seal(21)))
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["away"]
    program = "import cloudpickle, sys; carry, *sealed = cloudpickle.load(sys.stdin.buffer); "
    program += "print(carry(sys.argv[1:], *sealed))"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], input=sent, capture_output=True, check=True)
    assert done.stdout == b"42\n"
