"""Networks that come with weights: the data's normalisation, side and crop, and the classifier's rows, follow these.

A network's own keys that are not its factory's are read here: `model.labels`, and where a folder of transformers has
its files.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from effbench.checks.fields import shown
from effbench.config.targets import check_target
from effbench.config.trial import read_data
from effbench.data import ImageData
from effbench.data.paths import listed, remark
from effbench.models.class_names import match
from effbench.models.hf_networks import CONFIG, folder_of, weights_in
from effbench.models.torchvision_weights import names_weights
from effbench.models.weight_facts import WeightFacts, hf_facts, timm_facts, torchvision_facts
from effbench.plan.blueprint import Blueprint

TORCHVISION, TIMM, HF = (f"effbench.models.{name}" for name in ("torchvision_model", "timm_model", "hf_model"))
LABELS = ("fresh", "weights")
_PREPARATION = ("mean", "std", "crop_share")
"""Options by which a data set says that it prepares images as its network wants them."""


def is_pretrained(model: Mapping[str, Any], /) -> bool:
    """Whether a network is given weights by an option of its own, such as `pretrained`."""
    return model.get("_target_") == TIMM and model.get("pretrained") is True


def follow_weights(node: DictConfig, given: Collection[str], /) -> None:
    """Fill in what follows from a network's weights, but for keys that are `given`; each change is said in a line.

    Weights whose origin tells nothing of images (a file, and "default", which came before this) change nothing of the
    data. `model.labels`: weights keeps the classifier's rows of the data's classes, where these are known by name;
    fresh fits a new classifier. ValueError for what can't be had.
    """
    model = node.model
    if OmegaConf.is_missing(model, "name") or not isinstance(model.get("_target_"), str):
        return
    resolve_files(model)
    labels = _labels(model)
    facts, follows = _facts(model)
    if facts is None:
        if labels == "weights":
            raise ValueError(
                "model.labels=weights: the classes of these weights are not known; give model.labels=fresh"
            )
        return
    _follow_images(node, facts, given, follows=follows)
    if labels != "fresh" and not OmegaConf.missing_keys(node.data):
        data = OmegaConf.to_container(OmegaConf.create({**node})["data"], resolve=True)
        assert isinstance(data, dict)
        blueprint = Blueprint.from_node({str(key): value for key, value in data.items()})
        _follow_labels(model, facts, read_data(blueprint), is_asked=labels is not None, follows=follows)


def follow_classes(model: DictConfig, data: Blueprint, /) -> None:
    """Have a network keep the rows of its weights' classifier that are a data set's classes, where they are known."""
    facts, _follows = _facts(model)
    if facts is not None:
        _follow_labels(model, facts, read_data(data), is_asked=False, follows=True)


def resolve_files(model: DictConfig, /) -> None:
    """Write out where a network's files are: in the home folder, in a folder of transformers or the hub's cache."""
    if str(model.get("weights")).startswith("~"):
        model.weights = os.path.expanduser(model.weights)  # a file counts by its content where it can be found
    if model._target_ == HF:
        _find_hf_files(model)


def _labels(model: DictConfig) -> str | None:
    """Take `labels` out of a network's options, of those networks whose factory does not read it."""
    if model._target_ not in (TORCHVISION, TIMM, HF) or "labels" not in model:
        return None
    labels = model.pop("labels")
    if labels not in (*LABELS, None):
        raise ValueError(f"model.labels={shown(labels)}: must be {' or '.join(LABELS)}")
    return None if labels is None else str(labels)


def _find_hf_files(model: DictConfig) -> None:
    """Name a folder's configuration and weights, so that their content counts and no worker looks for them again."""
    pretrained = model.pop("pretrained", True)
    if not isinstance(pretrained, bool):
        raise ValueError(f"model.pretrained={shown(pretrained)}: must be true or false")
    folder = folder_of(str(model.name))
    if model.get("config") is None:
        model.config = str(folder / CONFIG)
    if "weights" not in model:
        file = weights_in(folder) if pretrained else None
        model.weights = "none" if file is None else str(file)


def _facts(model: DictConfig) -> tuple[WeightFacts | None, bool]:
    """Return what is known of a network's weights, None where it has none; and whether data follow by themselves."""
    weights = model.get("weights")
    if model._target_ == TORCHVISION:
        name = str(model.name)
        if weights in (None, "none") or not _is_known(name):
            return None, False
        if names_weights(name, str(weights)):
            return torchvision_facts(name, str(weights)), weights != "default"
        return torchvision_facts(name, "DEFAULT"), False
    if model._target_ == TIMM and (model.get("pretrained") is True or weights not in (None, "none")):
        return timm_facts(str(model.name)), True
    if model._target_ == HF and weights != "none":
        return hf_facts(Path(str(model.config)).parent), True
    return None, False


def _is_known(name: str) -> bool:
    import torchvision

    return name in torchvision.models.list_models(module=torchvision.models)


def _follow_images(node: DictConfig, facts: WeightFacts, given: Collection[str], *, follows: bool) -> None:
    """Have the data prepared as for the weights, where the data set has options for that that were left as they are."""
    check_target("data", node.data, ImageData)
    defaults = _defaults(Blueprint.from_node(node.data).callable)
    if not set(_PREPARATION) <= set(defaults):
        return
    changes = {
        name: value
        for name, value in facts.data_options().items()
        if name in defaults
        and f"data.{name}" not in given
        and _plain(node.data.get(name, defaults[name])) == _plain(defaults[name]) != _plain(value)
    }
    if not changes:
        return
    keys = ", ".join(f"data.{name}={_written(value)}" for name, value in changes.items())
    named = f"{node.model.name}'s weights"
    if not follows:
        if node.model.weights == "default":
            remark(
                f"{named} were trained at {keys}: model.weights=DEFAULT has the data follow, default leaves it as it is"
            )
        return
    for name, value in changes.items():
        node.data[name] = value
    remark(f"{keys}: as {named} are used to; give these keys for others")


def _defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(factory).parameters.items()}


def _follow_labels(model: DictConfig, facts: WeightFacts, data: ImageData, /, *, is_asked: bool, follows: bool) -> None:
    """Keep the rows of the weights' classifier that are the data's classes, in their order; or say that it can be."""
    if not facts.classes or not (data.classes or is_asked):
        return
    found = match(data.classes, facts.classes)
    named = f"{model.name}'s weights"
    if not found.rows:
        why = found.problem or "the data's classes are not among theirs"
        if is_asked:
            raise ValueError(f"model.labels=weights: {named} have other classes: {why}; give model.labels=fresh")
        if found.problem and follows:
            remark(f"{named}: the classifier is fitted anew to the data's classes: {found.problem}")
        return
    if found.rows == tuple(range(len(facts.classes))):
        return
    classes = f"the data's {len(data.classes)} classes ({listed(data.classes, most=3)})"
    if not (is_asked or follows):
        remark(f"{named}: may have {classes}; if so, model.labels=weights keeps their rows of the classifier")
        return
    model.class_rows = list(found.rows)
    remark(
        f"{named}: the classifier keeps the rows of {classes} among its {len(facts.classes)}; model.labels=fresh fits "
        "a new one"
    )


def _plain(value: Any) -> Any:
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value)
    return list(value) if isinstance(value, list | tuple) else value


def _written(value: Any) -> str:
    return "[" + ",".join(f"{part:g}" for part in value) + "]" if isinstance(value, list) else str(value)
