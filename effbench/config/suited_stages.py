"""Stages as they are for the network of their chain, found out before anything starts; a refusal is one line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch

from effbench.config.trial import check_training, read_task
from effbench.plan.blueprint import Blueprint
from effbench.plan.chain import Chain, Step, map_steps
from effbench.plan.sources import build_network, load_data
from effbench.plan.stage import Stage


def suit_to_network(chain: Chain, /, *, where: str) -> Chain:
    """Return a chain whose stages are as they are for its network, see `Stage.for_network`.

    ValueError for a stage that can't act on it, and for one that trains a network which can't be trained. The network
    is built; what is found out holds for all seeds.
    """
    check_training(chain, where=where)

    def suited(step: Step) -> Step:
        if type(step.stage).for_network is Stage.for_network:
            return step
        asked = _Asked(json.dumps(step.stage.identity()), step.stage)
        answer = _answer_of(chain.network, chain.task, chain.data, chain.side, asked)
        if isinstance(answer, str):
            raise ValueError(answer if where == "reference" else f"{where}: {answer}")
        return replace(step, stage=answer)

    return replace(chain, steps=map_steps(chain.steps, suited))


@dataclass(frozen=True)
class _Asked:
    """A stage that is asked, and what tells it from others: its fields have no hash."""

    key: str
    stage: Stage = field(compare=False)


@lru_cache(maxsize=1024)
def _answer_of(network: Blueprint, task: Blueprint, data: Blueprint, side: int, asked: _Asked) -> Stage | str:
    """Return a stage as it is for a network, or why it can't act on it."""
    loaded = load_data(data)
    try:
        with torch.random.fork_rng(devices=[]):
            model = build_network(network, read_task(task), loaded, side)
            return asked.stage.for_network(model.eval(), torch.zeros(2, loaded.channels, side, side))
    except ValueError as error:
        return str(error)
