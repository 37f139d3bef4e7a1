"""Pairs of layers that hints name, tried out on the networks of a point before anything starts."""

from __future__ import annotations

from functools import lru_cache

import torch

from effbench.plan.blueprint import Blueprint
from effbench.plan.chain import Chain
from effbench.plan.sources import build_network, load_data, load_task
from effbench.stages.distill import Distill
from effbench.training.hints import Pairs, meetings_of, read_pairs


def check_hints(chain: Chain, /, *, where: str) -> None:
    """Refuse hints between layers that are not there, or can't meet, of a network and its teacher: ValueError.

    Of steps after one that renames layers the names are not known before it runs.
    """
    for step in chain.plain_steps:
        stage = step.stage
        if isinstance(stage, Distill) and not stage.is_neutral and stage.weight and step.teacher is not None:
            pairs = tuple(read_pairs(stage.hints))
            teacher = step.teacher
            # A teacher that was taken apart by its own steps has other layers than its fresh network.
            if pairs and not any(taught.stage.RENAMES_LAYERS for taught in teacher.plain_steps):
                problem = _problem(chain.network, teacher.network, chain.task, chain.data, chain.side, pairs)
                if problem:
                    named = f"stage.{step.name}.{problem}"
                    raise ValueError(named if where == "reference" else f"{where}: {named}")
        if stage.RENAMES_LAYERS:
            return


@lru_cache(maxsize=256)
def _problem(network: Blueprint, teacher: Blueprint, task: Blueprint, data: Blueprint, side: int, pairs: Pairs) -> str:
    """Return why the pairs of two networks can't meet; empty where they can."""
    loaded, purpose = load_data(data), load_task(task)
    with torch.random.fork_rng(devices=[]):
        student, other = (build_network(blueprint, purpose, loaded, side) for blueprint in (network, teacher))
    try:
        with torch.inference_mode():
            meetings_of(student, other, pairs, torch.zeros(2, loaded.channels, side, side))
    except ValueError as error:
        return str(error)
    except Exception as error:  # a teacher that takes no images of the student's side
        return f"hints: the teacher can't see what the student sees ({type(error).__name__}: {str(error)[:200]})"
    return ""
