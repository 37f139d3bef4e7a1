"""A teacher by the name of its network, and maybe weights: resnet50:path.pth, timm:resnet10t:best.pth, my_nets:net."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from effbench.config.pretrained import TIMM, follow_classes, resolve_files
from effbench.config.short_forms import SOURCES, function_form, torchvision_names
from effbench.plan.blueprint import Blueprint
from effbench.plan.given import given_object, is_given

Node = Mapping[str, Any]

_WEIGHTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
_OWN_WEIGHTS = ("default", "pretrained")
"""Words for the weights that timm itself has of a network."""


@dataclass(frozen=True, kw_only=True)
class TeacherNetwork:
    """A network that may teach."""

    network: Blueprint
    comes_trained: bool
    """Whether it has weights from elsewhere: it then teaches as it is."""


def teacher_network(text: str, data: Blueprint, /, *, known: Mapping[str, Node]) -> TeacherNetwork | None:
    """Return the network that a teacher's name stands for; None where it is no name of a network.

    known: the members of conf/model. data: what it is to label; a classifier for more classes keeps the rows of those
    of the data, where they are known by name. ValueError, that does not begin with a key, for weights or a network that
    can't be had.
    """
    if is_given(text):
        return TeacherNetwork(network=Blueprint(text), comes_trained=given_object(text).is_trained)
    parts = _node_and_weights(text, known)
    if parts is None:
        return None
    node, weights = parts
    if weights and node["_target_"] == TIMM and weights in _OWN_WEIGHTS:
        node["pretrained"] = True
    elif weights:
        node["weights"] = weights
    config = OmegaConf.create({"model": node})
    resolve_files(config.model)
    comes_trained = config.model.get("weights") not in (None, "none") or config.model.get("pretrained") is True
    if comes_trained:
        follow_classes(config.model, data)
    plain = OmegaConf.to_container(config.model)
    assert isinstance(plain, dict)
    return TeacherNetwork(
        network=Blueprint.from_node({str(key): value for key, value in plain.items()}), comes_trained=comes_trained
    )


def _node_and_weights(text: str, known: Mapping[str, Node]) -> tuple[dict[str, Any], str] | None:
    """Return the node of a network's configuration, and the weights that are named behind it ("": none)."""
    first, _, rest = text.partition(":")
    if first in SOURCES and first != text:
        name, _, weights = (rest, "", "") if Path(rest).expanduser().is_dir() else rest.partition(":")
        node = known["torchvision"] if first == "torchvision" else {"_target_": SOURCES[first]["model._target_"]}
        return {**node, "name": name}, weights
    if first in known:
        return dict(known[first]), rest
    if ":" not in rest and Path(rest).suffix in _WEIGHTS and first not in torchvision_names() and "." not in first:
        near = difflib.get_close_matches(first, [*known, *torchvision_names()], n=1)
        raise ValueError(f"there is no network {first}" + (f"; did you mean {near[0]}?" if near else ""))
    name, _, weights = rest.partition(":")
    if function_form(f"{first}:{name}") and first not in torchvision_names():
        return {"_target_": f"{first}.{name}"}, weights
    if first in torchvision_names():
        return {**known["torchvision"], "name": first}, rest
    return None
