"""A configuration with what it leaves to its data, its network and the machine filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf

from effbench.config.trial import check_shapes, read_data
from effbench.plan.blueprint import Blueprint
from effbench.training.device import resolve_device
from effbench.training.precision import Precision, suited_precision

Node = Mapping[str, Any]


def resolved(node: Node) -> dict[str, Any]:
    """Return a configuration with the epochs that suit its data, the precision that suits its network, all resolved."""
    config = OmegaConf.create(dict(node))
    comes_trained = config.model.get("weights", "none") != "none"
    suited = config.data.get("epochs") or {"train": 10, "finetune": 3}
    for phase in ("train", "finetune"):
        if config[phase].epochs is None:
            config[phase].epochs = 0 if comes_trained else suited[phase]
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ValueError(f"{missing[0]}: must be given, as in {missing[0]}=…")
    if config.train.precision not in ("auto", *get_args(Precision)):
        raise ValueError(f"train.precision={config.train.precision}: must be auto, {', '.join(get_args(Precision))}")
    if config.train.precision == "auto":
        config.train.precision = _suited_precision(_plain(config))
    return _plain(config)


def _plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration with its interpolations resolved."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _suited_precision(node: Node) -> Precision:
    """Return the precision in which the uncompressed network is trained best: one for all points."""
    data = factory(node["data"], leave_out=("epochs",))
    side = read_data(data).side
    trial = check_shapes(factory(node["model"]), data, side, side, where="reference")
    return suited_precision(resolve_device(str(node["device"])), is_grouped=trial.is_grouped)


def factory(node: Node, leave_out: Sequence[str] = ()) -> Blueprint:
    """Return the blueprint that a node with a `_target_` describes."""
    return Blueprint(node["_target_"], {k: v for k, v in node.items() if k != "_target_" and k not in leave_out})
