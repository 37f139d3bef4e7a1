"""A configuration with what it leaves to its data, its network and the machine filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from effbench.checks.errors import kind_and_line
from effbench.checks.fields import check_arguments, shown
from effbench.config.keys import ENGINES
from effbench.config.least_side import least_side
from effbench.config.members import naming_the_file
from effbench.config.pretrained import is_pretrained
from effbench.config.references import why_unresolved
from effbench.config.targets import check_target
from effbench.config.training import check_precision
from effbench.config.trial import check_shapes, read_data
from effbench.measure.engine import Engine
from effbench.plan.blueprint import Blueprint
from effbench.plan.given import given_object, is_given
from effbench.plan.source_code import is_own
from effbench.training.device import resolve_device
from effbench.training.precision import TrainingPrecision, suited_precision

Node = Mapping[str, Any]


def resolved(node: Node) -> dict[str, Any]:
    """Return a configuration with the epochs that suit its data, the precision that suits its network, all resolved.

    ValueError, which names the key, for a reference such as ${train.lr} to what there is not.
    """
    try:
        return _resolved(node)
    except MissingMandatoryValue as error:
        raise ValueError(f"{error.full_key}: must be given, as in {error.full_key}=…") from None
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key}: {why_unresolved(error)}") from None


def _resolved(node: Node) -> dict[str, Any]:
    config = OmegaConf.create({name: value for name, value in node.items() if name != ENGINES})
    suited = config.data.get("epochs") or {"train": 10, "finetune": 3}
    for phase in ("train", "finetune"):
        if config[phase].epochs is None:
            config[phase].epochs = 0 if phase in done_before(config.model) else _suited(suited, phase)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ValueError(f"{missing[0]}: must be given, as in {missing[0]}=…")
    if config.train.precision not in ("auto", *get_args(TrainingPrecision)):
        raise ValueError(
            f"train.precision={config.train.precision}: must be auto, {', '.join(get_args(TrainingPrecision))}"
        )
    if config.train.precision == "auto":
        config.train.precision = _suited_precision(_plain(config))
    plain = _plain(config)
    check_precision(plain)
    return plain


def _suited(epochs: Any, phase: str) -> int:
    """Return how many epochs suit the data. ValueError where they do not say so."""
    value = epochs.get(phase) if isinstance(epochs, Mapping) else epochs
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or not isinstance(epochs, Mapping):
        key = f"data.epochs.{phase}" if isinstance(epochs, Mapping) else "data.epochs"
        what = (
            "a whole number, 0 or more" if isinstance(epochs, Mapping) else "two numbers, as in {train:10,finetune:3}"
        )
        raise ValueError(f"{key}={shown(value)}: must be {what}; or give {phase}.epochs")
    return value


def done_before(model: Mapping[Any, Any], /) -> tuple[str, ...]:
    """Return which trainings a network has behind it: with weights it is taken as it is, a trained one is recovered."""
    if model.get("weights") not in (None, "none") or is_pretrained(model):
        return ("train", "finetune")
    target = str(model.get("_target_"))
    return ("train",) if is_given(target) and given_object(target).is_trained else ()


def engine_blueprints(node: Node, names: tuple[str, ...]) -> dict[str, Blueprint]:
    """Return the engines of these names with their options, which may refer to other keys, as in ${device}.

    ValueError for options that an engine refuses, and for a device that is not there.
    """
    config = OmegaConf.create(dict(node))
    config.device = str(resolve_device(str(config.device)))
    for name in names:
        with naming_the_file("engine", name):
            check_target(f"engine.{name}", config[ENGINES][name], None)
    engines = {name: Blueprint.from_node(_plain(config[ENGINES][name])) for name in names}
    for name, engine in engines.items():
        try:
            if is_own(engine.callable):
                check_arguments(engine.callable, engine.options)
            built = engine.build()
            resolve_device(str(engine.options.get("device", "cpu")))
        except ValueError as error:  # it begins with the name of the option, or of the engine's class
            separator = ": " if str(error).startswith(engine.target) else "."
            raise ValueError(f"engine.{name}{separator}{error}") from None
        except (Exception, SystemExit) as error:
            raise ValueError(f"engine.{name}: {engine.target} can't be made: {kind_and_line(error)}") from None
        if not isinstance(built, Engine):
            raise ValueError(f"engine.{name}._target_={engine.target}: gives a {type(built).__name__}, not an Engine")
    return engines


def task_blueprint(node: Node) -> Blueprint:
    """Return the task that a node stands for."""
    return Blueprint.from_node(node, leave_out=("_target_", "model", "data", "like"))


def _plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration with its interpolations resolved."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _suited_precision(node: Node) -> TrainingPrecision:
    """Return the precision in which the uncompressed network is trained best: one for all points."""
    data = Blueprint.from_node(node["data"])
    side = max(read_data(data).side, least_side(node["model"]))
    network, task = Blueprint.from_node(node["model"]), task_blueprint(node["task"])
    trial = check_shapes(network, task, data, side, side, where="reference")
    return suited_precision(resolve_device(str(node["device"])), is_grouped=trial.is_grouped)
