"""The memory layout of training: contiguous where torch can't train a network in channels_last."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from effbench.config.trial import check_shapes
from effbench.plan.chain import Chain, Step, map_steps
from effbench.run.store import Store
from effbench.training.device import processor_name, resolve_device
from effbench.training.layout import Layout, StridedPointwise, fails_in_channels_last

log = logging.getLogger(__name__)

CHANNELS_LAST: Layout = "channels_last"
CONTIGUOUS: Layout = "contiguous"


def trainable(chain: Chain, node: Mapping[str, Any], /) -> Chain:
    """Return a chain whose trainings, and those of its teachers, have a layout in which torch can run them here.

    It is asked once of each shape of layer, processor and version of torch; the store keeps the answer. node: the
    configuration, of which `device`, `store` and `dry_run` are read.
    """
    device = resolve_device(str(node["device"]))
    if device.type != "cpu":
        return chain

    def with_layout(step: Step) -> Step:
        teacher = None if step.teacher is None else trainable(step.teacher, node)
        stage = step.stage
        if getattr(stage, "layout", None) == CHANNELS_LAST and stage.TRAINS and _fails(chain, node):
            stage = stage.with_training(layout=CONTIGUOUS)
        return dataclasses.replace(step, stage=stage, teacher=teacher)

    return dataclasses.replace(chain, steps=map_steps(chain.steps, with_layout))


def as_trained(chain: Chain, node: Mapping[str, Any], /) -> dict[str, Any]:
    """Return what a configuration says of training, `train` and `stage`, with the layout that a chain is trained in."""
    if not any(getattr(step.stage, "layout", None) == CONTIGUOUS for step in chain.plain_steps):
        return {"train": node["train"], "stage": node["stage"]}
    stages = {
        name: {**options, "layout": CONTIGUOUS} if "layout" in options else options
        for name, options in node["stage"].items()
    }
    return {"train": {**node["train"], "layout": CONTIGUOUS}, "stage": stages}


def _fails(chain: Chain, node: Mapping[str, Any]) -> bool:
    trial = check_shapes(chain.network, chain.task, chain.data, chain.side, chain.side, where="reference")
    root = Path(os.path.expanduser(str(node["store"]["root"])))
    failing = [layer for layer in sorted(trial.strided) if _fails_here(layer, root, bool(node["dry_run"]))]
    if failing:
        _say(failing[0], chain.network.target)
    return bool(failing)


@lru_cache(maxsize=1024)
def _fails_here(layer: StridedPointwise, root: Path, is_dry: bool) -> bool:
    """Return the answer that the store keeps, or else try; a dry run leaves no answer behind."""
    asked = {"layer": dataclasses.asdict(layer), "torch": torch.__version__, "processor": processor_name()}
    name = f"layouts/{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:20]}"
    store = Store(root, read_only=is_dry)
    kept = store.get_json(name)
    if kept is not None and "fails" in kept:
        return bool(kept["fails"])
    fails = fails_in_channels_last(layer)
    if not is_dry:
        store.put_json(name, {**asked, "fails": fails})
    return fails


@lru_cache(maxsize=1024)
def _say(layer: StridedPointwise, network: str) -> None:
    log.warning(
        "%s: torch %s crashes on this processor in the backward pass of a %s in channels_last: trained with "
        "train.layout=contiguous",
        network,
        torch.__version__,
        layer,
    )
