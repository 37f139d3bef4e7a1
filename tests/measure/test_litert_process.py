"""Speaking to LiteRT's interpreter: in a real process, with stand-ins for LiteRT where it isn't.

The stand-ins' "files" are exported programs, which torch runs; they are in a folder that the fake interpreter adds to
its path.
"""

import gc
import os
import stat
from importlib.metadata import version

import pytest
import torch
from torch import nn

from effbench.measure import cores, litert_process
from effbench.measure.engine import engine_versions
from effbench.measure.engines.litert import LitertEngine
from effbench.measure.litert_process import LitertProcess, end_all, missing_packages, package_versions, process_of

pytestmark = pytest.mark.waiting

VALUES = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def no_process_stays():
    yield
    end_all()


@pytest.fixture
def process(fake_litert):
    return process_of(fake_litert())


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU()).eval()


@pytest.fixture
def program(network, tmp_path):
    torch.export.save(torch.export.export(network, (VALUES,)), tmp_path / "network.pt2")
    return tmp_path / "network.pt2"


@pytest.mark.extended
def test_a_network_is_converted_held_run_and_timed(process, program, network, tmp_path):
    file = tmp_path / "network.tflite"
    process.convert(program, file)
    held = process.load(file, VALUES, threads=2)
    file.unlink()
    torch.testing.assert_close(held.outputs(VALUES), network(VALUES).detach())
    torch.testing.assert_close(held.outputs(VALUES.flip(0)), network(VALUES.flip(0)).detach())
    assert held.seconds() == 0.125  # what the stand-in's clock says


@pytest.mark.extended
def test_networks_are_there_side_by_side_and_dropped_with_what_holds_them(process, program, tmp_path):
    file = tmp_path / "network.tflite"
    process.convert(program, file)
    first, second = (process.load(file, VALUES[:n], threads=1) for n in (2, 2))
    number = second._number
    assert number != first._number
    del second
    gc.collect()
    assert first.seconds() == 0.125
    with pytest.raises(RuntimeError, match=rf"^KeyError: {number}$"):
        process.seconds(number)


@pytest.mark.extended
def test_a_request_that_fails_is_an_error_in_a_line_and_the_next_one_is_answered(process, program, tmp_path):
    (tmp_path / "broken").write_text("no network")
    with pytest.raises(RuntimeError, match=r"^\w+: [^\n]+$"):
        process.load(tmp_path / "broken", VALUES, threads=1)
    with pytest.raises(RuntimeError, match=r"^\w+: [^\n]+$"):
        process.convert(tmp_path / "none.pt2", tmp_path / "network.tflite")
    process.convert(program, tmp_path / "network.tflite")
    assert process.is_alive


@pytest.mark.extended
def test_a_process_that_has_ended_is_told_of_and_another_one_takes_its_place(fake_litert, program, tmp_path):
    python = fake_litert()
    process = process_of(python)
    assert process_of(python) is process
    process.convert(program, tmp_path / "network.tflite")
    held = process.load(tmp_path / "network.tflite", VALUES, threads=1)
    process._process.kill()
    with pytest.raises(RuntimeError, match=r"^LiteRT's process has ended \(exit status -9\)$"):
        held.seconds()
    other = process_of(python)
    assert other is not process and other.is_alive
    assert other.load(tmp_path / "network.tflite", VALUES, threads=1).seconds() == 0.125


def test_it_ends_with_its_files_and_counts_as_own_until_then(fake_litert):
    process = LitertProcess(fake_litert())
    number, folder = process._process.pid, process._folder
    assert folder.is_dir() and number in cores._own
    process.end()
    assert not process.is_alive and not folder.exists() and number not in cores._own
    process.end()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system holds no process to cores")
def test_its_threads_are_held_to_the_same_cores(process):
    number, before = process._process.pid, os.sched_getaffinity(process._process.pid)
    with cores.held_to(1) as held:
        assert os.sched_getaffinity(number) == (set(held) or before)
    assert os.sched_getaffinity(number) == before


def test_an_interpreter_is_asked_what_it_lacks(fake_litert, tmp_path):
    assert missing_packages(fake_litert()) == ()
    assert missing_packages(fake_litert(without="litert_torch")) == ("litert_torch",)
    with pytest.raises(ValueError, match=r"^there is no such program$"):
        missing_packages(str(tmp_path / "none"))
    no_python = tmp_path / "no_python"
    no_python.write_text("#!/bin/sh\nexit 3\n")
    no_python.chmod(no_python.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(ValueError, match=r"^it is no Python interpreter \([^\n]+\)$"):
        missing_packages(str(no_python))


def test_a_fork_has_none_of_its_own(monkeypatch, process):
    monkeypatch.setattr(litert_process.os, "getpid", lambda: 1)
    end_all()
    monkeypatch.undo()
    assert process.is_alive


def test_versions_are_those_of_its_interpreter(fake_litert, monkeypatch, tmp_path):
    python = fake_litert()
    assert package_versions(python) == {"torch": version("torch")}  # the stand-in has none
    about = tmp_path / "stand-ins-without-None" / "ai_edge_litert-9.9.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ai-edge-litert\nVersion: 9.9\n")
    package_versions.cache_clear()
    assert package_versions(python) == {"ai-edge-litert": "9.9", "torch": version("torch")}
    monkeypatch.setenv("EFFBENCH_LITERT_PYTHON", python)
    assert engine_versions(LitertEngine, {}) == engine_versions(LitertEngine, {"python": python})
    assert engine_versions(LitertEngine, {})["ai-edge-litert"] == "9.9"
    with pytest.raises(ValueError, match="does not tell the versions"):
        package_versions("/nowhere/python")
