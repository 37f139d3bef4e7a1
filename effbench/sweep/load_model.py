"""The network of a tracked run, from its file: `effbench.load_model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import nn

from effbench.codec import decode
from effbench.plan.blueprint import Blueprint
from effbench.plan.given import given_object, is_given, name_of
from effbench.plan.given_networks import give_factory, give_network
from effbench.plan.sources import network_of
from effbench.tracking.read import load_network, load_runs


def load_model(
    run: str | pd.Series, /, *, model: Any = None, experiment: str = "effbench", tracking_uri: str | None = None
) -> nn.Module:
    """Return the network of a tracked run, read from its file: on the CPU, in evaluation mode, ready to use.

    Parameters
    ----------
    run
        A run id of MLflow, a run key (or the beginning of one), or a row of `effbench.load_runs` or of
        `SweepResult.runs`.
    model
        Where the run's network was given to `run_sweep` as an object: that network, or what builds one. Not needed of a
        network that a name leads to.
    experiment, tracking_uri
        Where the run is: see `effbench.load_runs`.

    Raises
    ------
    ValueError
        Where there is no such run, where it has no file, where its network can't be built here, and where the file does
        not fit it.

    Examples
    --------
    >>> import effbench
    >>> result = effbench.run_sweep(bits=[4], train={"epochs": 0}, measure={"seconds": 0.01}, progress=False)
    >>> network = effbench.load_model(result.runs.iloc[1])
    >>> network.training, len(network.classifier.weight[0].unique()) <= 16
    (False, True)
    """
    blob, described = load_network(_run_id(run, experiment, tracking_uri), tracking_uri=tracking_uri)
    return decode(blob, _fresh(described, model)).eval()


def _run_id(run: str | pd.Series, experiment: str, tracking_uri: str | None) -> str:
    if isinstance(run, pd.Series) and isinstance(run.get("run_id"), str):
        return str(run["run_id"])
    return str(find_run(run, experiment, tracking_uri)["run_id"])


def find_run(run: str | pd.Series, experiment: str, tracking_uri: str | None, /) -> pd.Series:
    """Return the row of a finished run, by its id, its key or the beginning of one.

    ValueError where it is not there, with what is.
    """
    if isinstance(run, pd.Series):
        if not isinstance(run.get("run_key"), str):
            raise ValueError("run: the row has neither run_id nor run_key; give one of load_runs, or of result.runs")
        run = str(run["run_key"])
    if not isinstance(run, str) or not run:
        raise ValueError(f"run={run!r}: must be a run id, a run key, or a row of load_runs")
    runs = load_runs(experiment, tracking_uri=tracking_uri)
    columns = [column for column in ("run_id", "run_key") if column in runs.columns]
    found = runs[runs[columns].apply(lambda ids: ids.str.startswith(run)).any(axis=1)]
    if len(found) == 1:
        row: pd.Series = found.iloc[0]
        return row
    if len(found) > 1:
        raise ValueError(f"run={run}: {len(found)} runs begin so; give more of it")
    for run_id, name, status, error in runs.attrs["unfinished"]:
        if run_id.startswith(run):
            raise ValueError(f"run={run}: is no finished run, but {status}: {name}{f' ({error})' if error else ''}")
    known = ", ".join(runs["run_key"].head(5)) if len(runs) else "none"
    raise ValueError(f"run={run}: experiment {experiment} has no finished run with that id or key; it has {known}, …")


def _check_code(target: str, described: Mapping[str, Any]) -> None:
    """Refuse another network than the run had; its weights, which come from the file, may differ."""
    code = given_object(target).code if is_given(target) else ""
    is_same = code == described["code"] if code and described.get("code") else target == described["target"]
    if not is_same:
        raise ValueError(
            f"model={name_of(target)}: is not what the sweep was given: its code, structure or settings differ, and so "
            "would what the run's weights give; give the network as it was then"
        )


def _fresh(described: Mapping[str, Any], model: Any) -> nn.Module:
    target = str(described["target"])
    if is_given(target) and model is not None:
        target = give_network(model) if isinstance(model, nn.Module) else give_factory(model, what="model")
        _check_code(target, described)
    blueprint = Blueprint(target, described["options"])
    try:
        _ = blueprint.callable
    except ValueError as error:
        hint = f"; give model=, the {name_of(target)} that the sweep was given" if is_given(target) else ""
        raise ValueError(f"the run's network can't be built here: {error}{hint}") from None
    with torch.random.fork_rng(devices=[]):
        return network_of(blueprint, described["offered"])
