"""One technique on one network, without a sweep: `effbench.apply`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn, cast

import torch
from torch import nn

from effbench.compression.constraints.copies import copy_network
from effbench.compression.duplicate import duplicate
from effbench.config.command_line import read_command_line
from effbench.config.keywords import brief
from effbench.config.members import declared_axes, members
from effbench.config.objects import with_names
from effbench.config.recipe import make_stage
from effbench.config.resolve import resolved
from effbench.config.typed import unknown_name
from effbench.data import ImageData
from effbench.measure.compute import Cost, count_cost
from effbench.plan.blueprint import Blueprint
from effbench.plan.context import Context
from effbench.plan.sources import load_data
from effbench.sweep.messages import say
from effbench.tasks.classification import Classification
from effbench.training.device import resolve_device
from effbench.training.evaluation import Evaluation, evaluate


def apply(
    technique: str, model: nn.Module, /, *, data: object = None, seed: int = 0, device: str = "auto", **options: Any
) -> nn.Module:
    """Apply one technique to a network, without a sweep.

    Parameters
    ----------
    technique
        The name of a stage of conf/stage, such as prune, quantize, share, low_rank, prune_channels or finetune.
    model
        Any network; it is left alone.
    data
        What the technique may look at, as for `effbench.run_sweep`: a name, a folder, torch datasets. None where it
        needs none: most look at the weights alone.
    seed
        Of what it draws.
    device
        Where it trains or evaluates: auto, cpu, cuda, cuda:N or mps.
    **options
        The technique's own, as in ratio=0.9; what is not given is as in conf/stage.

    Returns
    -------
    torch.nn.Module
        A network in evaluation mode whose weights bear the technique's constraints (masks, codebooks, grids), which
        hold while it is trained on. `effbench.encode` stores it in its small form, `effbench.count_cost` counts it.

    Raises
    ------
    ValueError
        For an unknown technique or option, a value out of range, and a technique that needs data and has none.

    Examples
    --------
    >>> import effbench, torch
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    >>> pruned = effbench.apply("prune", network, ratio=0.9)
    >>> int((pruned[1].weight != 0).sum()), len(effbench.encode(pruned)) < 0.2 * len(effbench.encode(network))
    (784, True)
    """
    known = members("stage")
    if technique not in known:
        raise ValueError(unknown_name(technique, known, "technique"))
    if not isinstance(model, nn.Module):
        raise ValueError(f"model={brief(model)}: must be a network, an instance of torch.nn.Module")
    kind: Any = Blueprint.from_node(known[technique]).callable
    fields = [f"{technique}.{field.name}" for field in dataclasses.fields(kind)]
    for name in options:
        if f"{technique}.{name}" not in fields:
            raise ValueError(unknown_name(f"{technique}.{name}", fields, "option"))
    stage = make_stage(technique, {**_defaults(technique, options), **options})
    loaded = _data_of(data)
    context = _context(technique, loaded, seed=seed, device=resolve_device(device))
    before = copy_network(model)
    result = stage.apply(duplicate(model) if before is model else before, context).eval()
    _say_findings(context)
    return result


def _defaults(technique: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of conf/stage; those that an axis gives have no default, and are asked for."""
    node = _stages()[technique]
    for axis in declared_axes().values():
        stage, _, field = axis.target.partition(".")
        if "stage" in axis.readers and stage == technique and axis.modifies is None and field not in options:
            if field not in node:
                raise ValueError(f"{technique}: {field} must be given, as in apply({technique!r}, model, {field}=…)")
    return dict(node)


@lru_cache(maxsize=1)
def _stages() -> dict[str, dict[str, Any]]:
    (composed,) = read_command_line([]).configurations
    stages: dict[str, dict[str, Any]] = resolved(composed.node)["stage"]
    return stages


class _NoData:
    """Stands where no data were given."""

    def __init__(self, technique: str) -> None:
        self._technique = technique

    def __getattr__(self, name: str) -> NoReturn:
        raise ValueError(
            f"{self._technique}: looks at data; give data=, as in data=(train, val, test) or data='digits'"
        )


def _data_of(data: object) -> ImageData | None:
    if data is None or isinstance(data, ImageData):
        return data
    named = with_names({"data": data})
    (composed,) = read_command_line([f"{key}={value!r}" for key, value in named.items()]).configurations
    return load_data(Blueprint.from_node(resolved(composed.node)["data"]))


def _context(technique: str, data: ImageData | None, *, seed: int, device: torch.device) -> Context:
    there = cast(ImageData, _NoData(technique)) if data is None else data
    task = Classification()

    def validate(network: nn.Module) -> Evaluation:
        return evaluate(network, there, "val", task=task, side=there.side, device=device)

    def cost(network: nn.Module) -> Cost:
        return count_cost(network, (there.channels, there.side, there.side))

    return Context(
        data=there,
        task=task,
        side=there.side if data is not None else 0,
        seed=seed,
        step=technique,
        device=device,
        evaluate=lambda network: validate(network).score,
        validate=validate,
        cost=cost,
    )


def _say_findings(context: Context) -> None:
    """Say on which share of the weights a technique acted, where that was not all."""
    for name, share in context.findings.metrics.items():
        if name.startswith("acted_share/"):
            left = context.findings.words.get(f"left/{context.step}", "")
            say(f"{context.step}: acted on {100 * share:.1f} % of the weights" + (f", not on {left}" if left else ""))
