"""Networks of tracked runs, read from their files."""

import shutil

import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from torch import nn

import effbench
from effbench.sweep.load_model import _run_id as run_id_of

pytestmark = pytest.mark.filterwarnings("ignore")


def same(one, other):
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(v, states[1][k]) for k, v in states[0].items())


def test_a_run_is_named_by_id_key_or_row(swept, uri):
    frame = effbench.load_runs(tracking_uri=uri)
    row = frame[(frame["prune"] == 0.9) & (frame["bits"] == 4) & (frame["seed"] == 1)].iloc[0]
    network = swept.model(prune=0.9, bits=4, seed=1)
    own = swept.runs[swept.runs["run_key"] == row["run_key"]].iloc[0]
    for run in (row, row["run_id"], row["run_key"], row["run_key"][:12], own):
        loaded = effbench.load_model(run, tracking_uri=uri)
        assert same(loaded, network) and not loaded.training


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("zzz", "run=zzz: experiment effbench has no finished run with that id or key; it has "),
        ("", "run='': must be a run id"),
        (3, "run=3: must be a run id"),
    ],
)
def test_what_names_no_run_is_refused(swept, uri, run, message):
    with pytest.raises(ValueError) as caught:
        effbench.load_model(run, tracking_uri=uri)
    assert message in str(caught.value)


def test_a_row_that_names_no_run_is_refused(swept, uri):
    with pytest.raises(ValueError, match="has neither run_id nor run_key"):
        effbench.load_model(swept.runs[["prune"]].iloc[0], tracking_uri=uri)


@pytest.mark.parametrize(
    ("beginning", "found"), [("a", None), ("ab", "ab1"), ("c", None), ("ca", "ab1"), ("cb", "ac2"), ("e", None)]
)
def test_the_beginning_of_an_id_or_a_key_must_be_that_of_one_run(monkeypatch, beginning, found):
    ids = pd.DataFrame({"run_id": ["ab1", "ac2", "ed3"], "run_key": ["ca7", "cb8", "ea9"]})
    ids.loc[3] = ["e4", "b0"]
    monkeypatch.setattr("effbench.sweep.load_model.load_runs", lambda *_, **__: ids)
    if found is None:
        with pytest.raises(ValueError, match="2 runs begin so; give more of it"):
            run_id_of(beginning, "effbench", None)
    else:
        assert run_id_of(beginning, "effbench", None) == found


def test_a_run_of_an_earlier_version_says_what_to_do(swept, uri):
    frame = effbench.load_runs(tracking_uri=uri)
    client, run_id = MlflowClient(uri), frame["run_id"][0]
    described = client.get_run(run_id).data.tags["effbench.network"]
    client.delete_tag(run_id, "effbench.network")
    try:
        with pytest.raises(ValueError, match=r"logged by an earlier effbench.*effbench\.decode"):
            effbench.load_model(run_id, tracking_uri=uri)
    finally:
        client.set_tag(run_id, "effbench.network", described)


@pytest.mark.extended
def test_a_network_that_was_given_is_given_again(tmp_path, monkeypatch, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    quick = {"finetune": {"epochs": 0}, "measure": {"seconds": 0.01}, "sweep": {"jobs": 1}}
    result = effbench.run_sweep(bits=4, model=network, progress=False, **quick)
    monkeypatch.setattr("effbench.plan.given._given", {})  # as after a restart
    with pytest.raises(ValueError, match="give model=, the Sequential that the sweep was given"):
        effbench.load_model(result.runs["run_key"][1])
    for other in (nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Linear(784, 10)), lambda: network):
        with pytest.raises(ValueError, match="is not what the sweep was given: its code, structure or settings differ"):
            effbench.load_model(result.runs["run_key"][1], model=other)
    torch.nn.init.zeros_(network[1].weight)  # the weights are the file's
    loaded = effbench.load_model(result.runs["run_key"][1], model=network)
    assert len(torch.unique(loaded[1].weight)) <= 16 * 10
