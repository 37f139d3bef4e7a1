"""LiteRT: its interpreter is another one, whose clock counts. Most of it with a stand-in for that interpreter."""

import os

import pytest
import torch
from torch import nn

from effbench.measure.engine import evaluates_as_runs_do, find_engine
from effbench.measure.engines.litert import PYTHON_VARIABLE, LitertEngine
from effbench.measure.latency import sample_latency
from effbench.measure.litert_process import end_all

VALUES = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
PYTHON = os.environ.get(PYTHON_VARIABLE)
needs_litert = pytest.mark.skipif(not PYTHON, reason=f"{PYTHON_VARIABLE} names no interpreter that has LiteRT")


@pytest.fixture(autouse=True, scope="module")
def no_process_stays():
    yield
    end_all()


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5)).eval()


def test_without_an_interpreter_it_says_how_to_make_one(monkeypatch):
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    with pytest.raises(ValueError, match=r"^python=null: [^\n]+-m venv litert[^\n]+engine\.litert\.python=[^\n]+$"):
        LitertEngine()


def test_an_interpreter_that_is_none_is_refused_in_a_line(tmp_path):
    with pytest.raises(ValueError, match=r"^python=\S+/none: there is no such program$"):
        LitertEngine(python=str(tmp_path / "none"))


def test_one_that_lacks_litert_is_told_what_to_install(fake_litert):
    python = fake_litert(without="ai_edge_litert")
    with pytest.raises(
        ValueError, match=rf"^python={python}: it lacks ai_edge_litert: {python} -m pip install -r \S+\.lock$"
    ):
        LitertEngine(python=python)


def test_the_environment_names_one(fake_litert, monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, fake_litert())
    assert find_engine("litert") == LitertEngine()


@pytest.mark.extended
def test_a_network_is_written_run_and_timed_by_the_other_clock(fake_litert, network):
    engine = LitertEngine(python=fake_litert())
    prepared = engine.prepare(network, VALUES, threads=1)
    expected = network(VALUES).detach()
    torch.testing.assert_close(prepared.outputs(VALUES), expected)
    torch.testing.assert_close(prepared(), expected)
    assert prepared.n_bytes > 0 and prepared.int8_weights == 0 and not prepared.notes
    samples = sample_latency({"network": network}, (16,), engine=engine, seconds=0.5, n_rounds=2)
    assert set(samples["latency_ms"]) == {125.0}


class Branching(nn.Module):
    def forward(self, values):
        return values if values.sum() > 0 else -values


def test_what_can_not_be_exported_is_an_error_in_a_line(fake_litert):
    with pytest.raises(ValueError, match=r"^it can't be written for LiteRT: [^\n]+$"):
        LitertEngine(python=fake_litert()).prepare(Branching(), VALUES, threads=1)


def test_the_quality_of_runs_is_not_its_own(fake_litert):
    assert not evaluates_as_runs_do(LitertEngine(python=fake_litert()))


@needs_litert
def test_litert_itself_gives_the_networks_outputs():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 5)
    ).eval()
    images = torch.randn(2, 3, 8, 8)
    prepared = LitertEngine().prepare(network, images, threads=1)
    for values in (images, images.flip(0), images.transpose(2, 3)):
        torch.testing.assert_close(prepared.outputs(values), network(values).detach(), rtol=1e-4, atol=1e-5)
    assert 0 < prepared.seconds() < 1
    n_weights = sum(parameter.numel() for parameter in network.parameters())
    assert 4 * n_weights * 0.9 < prepared.n_bytes < 4 * n_weights + 20_000


@needs_litert
def test_what_litert_can_not_convert_is_an_error_in_a_line():
    class Unknown(nn.Module):
        def forward(self, values):
            return torch.linalg.eigvals(values @ values.T).real

    with pytest.raises(ValueError, match=r"^it can't be written for LiteRT: [^\n]+$"):
        LitertEngine().prepare(Unknown(), VALUES, threads=1)
