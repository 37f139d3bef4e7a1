"""A run's network as a model of MLflow's own kind: `mlflow.pytorch.load_model` and `mlflow models serve` take it.

It is a program of torch.export: a graph and its tensors. No pickle, and no code of effbench's or the user's, is needed
to load it. What it holds of the machine that exported it, the paths of source files, is taken out.
"""

from __future__ import annotations

import copy
import inspect
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.tracking import MlflowClient
from torch import Tensor, nn

from effbench.checks.errors import first_line
from effbench.tracking import names

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of MLflow about types of its own
    import mlflow.pytorch
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

ROOM_FOR_NAME = 250
"""Characters: of a model's name."""
_PROGRAM = "data/model.pt2"
_BATCHES = (1, 3)
"""Numbers of examples that a program is tried with, beside the two that it was exported with."""


class NotExportable(ValueError):  # noqa: N818 (what it is)
    """A network that torch.export can't write down, or not for any number of examples: one line that says why."""


@dataclass(frozen=True, kw_only=True)
class ServedNetwork:
    """What is logged of a network."""

    name: str
    """That of the model; what MLflow takes in no name becomes an underscore."""
    network: nn.Module
    """On the CPU, in evaluation mode, without parametrizations."""
    example: Tensor
    """Two inputs, float (2, …)."""
    metadata: Mapping[str, Any]
    """What is to be known of inputs and answers, by name; it stands in the model's own file."""


def log_network(client: MlflowClient, run_id: str, served: ServedNetwork, /) -> None:
    """Log a network as a model of a run, with the run's params and metrics.

    NotExportable before anything is logged; MlflowException where MLflow does not take it.
    """
    with tempfile.TemporaryDirectory() as private:
        folder = Path(private, "model")
        _save(served, folder)
        run = client.get_run(run_id)
        tags = {name: value for name in (names.RUN_KEY, names.SWEEP, names.POINT) if (value := run.data.tags.get(name))}
        model = client.create_logged_model(
            run.info.experiment_id,
            name=model_name(served.name),
            source_run_id=run_id,
            tags={**tags, names.NOTE: "\n\n".join(f"{name}: {value}" for name, value in served.metadata.items())},
            params=run.data.params,
            model_type=served.metadata.get("task"),
        )
        with _ended(client, model.model_id):
            _identify(folder, run_id, model.model_id, model.artifact_location)
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            client.log_batch(run_id, metrics=_metrics_of(run, model.model_id))
            client.log_model_artifacts(model.model_id, str(folder))


def keys_with_models(client: MlflowClient, experiment_id: str, sweep_id: str, /) -> frozenset[str]:
    """Return the keys of the runs of a sweep that have a model which came to its end."""
    keys: set[str] = set()
    token = None
    while True:
        page = client.search_logged_models(
            [experiment_id], f"tags.`{names.SWEEP}` = '{sweep_id}'", max_results=50, page_token=token
        )
        keys |= {model.tags[names.RUN_KEY] for model in page if model.status == LoggedModelStatus.READY}
        token = page.token
        if not token:
            return frozenset(keys)


def model_name(name: str, /) -> str:
    """Return a name that MLflow takes for a model, and that stands in its URI as it is.

    >>> model_name("torchvision/resnet18 0.5")
    'torchvision_resnet18_0_5'
    """
    return re.sub(r"[^\w-]+", "_", name, flags=re.ASCII).strip("_")[:ROOM_FOR_NAME] or "network"


@contextmanager
def _ended(client: MlflowClient, model_id: str) -> Iterator[None]:
    """Say of a model that is being logged what became of it: pages show one that is not ready as such."""
    try:
        yield
    except BaseException:
        with suppress(Exception):  # what went wrong first is what is told
            client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
        raise
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)


def _metrics_of(run: Any, model_id: str) -> list[Metric]:
    """Return a run's metrics as those of its model; no training curves."""
    return [
        Metric(name, value, run.info.start_time, 0, model_id=model_id, run_id=run.info.run_id)
        for name, value in run.data.metrics.items()
        if not name.startswith(names.CURVE)
    ]


def _save(served: ServedNetwork, folder: Path) -> None:
    """Write a model as MLflow has it to a new folder, and try it. NotExportable where that is not to be had."""
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch about itself
            answer = served.network(served.example)
            if not isinstance(answer, Tensor):
                raise NotExportable(f"its answer is a {type(answer).__name__}, not one tensor")
            if answer.dtype == torch.bfloat16:
                served = replace(served, network=_InFloat32(served.network))
                answer = answer.float()
            mlflow.pytorch.save_model(
                served.network,
                str(folder),
                signature=ModelSignature(Schema([_spec(served.example)]), Schema([_spec(answer)])),
                input_example=served.example.numpy(),
                pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
                metadata=dict(served.metadata),
                **_as_program(),
            )
            _take_paths_out(folder / _PROGRAM)
            _try_out(folder / _PROGRAM, served)
    except NotExportable:
        raise
    except Exception as error:  # torch.export has no exception of its own, nor has a network of the user's
        raise NotExportable(first_line(error) or type(error).__name__) from error


class _InFloat32(nn.Module):
    """Answers in float32 what a network answers in bfloat16, of which NumPy, and so MLflow, knows nothing."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Tensor) -> Tensor:
        answer: Tensor = self.network(batch)
        return answer.float()


def _spec(batch: Tensor) -> TensorSpec:
    return TensorSpec(np.dtype(batch.numpy().dtype), (-1, *batch.shape[1:]))


def _as_program() -> dict[str, Any]:
    """Return what asks MLflow for a program of torch.export, as this version of it calls that."""
    options = inspect.signature(mlflow.pytorch.save_model).parameters
    return {"serialization_format": "pt2"} if "serialization_format" in options else {"export_model": True}


def _take_paths_out(program: Path) -> None:
    """Write a program anew without where in which file of this machine each of its steps stood."""
    exported = torch.export.load(program)
    for module in exported.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    torch.export.save(exported, program)


def _try_out(program: Path, served: ServedNetwork) -> None:
    """Refuse a program that does not answer as its network does, with other numbers of examples, too."""
    again = torch.export.load(program).module()
    for n_examples in (len(served.example), *_BATCHES):
        batch = served.example[:1].expand(n_examples, *served.example.shape[1:]).clone()
        wanted = served.network(batch)
        try:
            answer = again(batch)
        except Exception as error:
            raise NotExportable(f"it takes {len(served.example)} examples at once and no other number") from error
        if not torch.allclose(answer, wanted, rtol=1e-4, atol=1e-5, equal_nan=True):
            raise NotExportable(f"its program answers otherwise, by {(answer - wanted).abs().max():.2g}")


def _identify(folder: Path, run_id: str, model_id: str, location: str) -> None:
    """Write into a model's own file whose it is, and that it computes where its tensors are: on the CPU.

    MLflow would look for a graphics card, and refuse the program where it finds one.
    """
    model = Model.load(str(folder))
    model.run_id, model.model_id, model.model_uuid, model.artifact_path = run_id, model_id, model_id, location
    flavor = copy.deepcopy(model.flavors["python_function"])
    flavor["config"] = {**flavor.get("config", {}), "device": "cpu"}
    model.flavors["python_function"] = flavor
    model.save(str(folder / "MLmodel"))
