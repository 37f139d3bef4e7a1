"""Try a configuration's data and network out, before anything starts: what fails is the user's, and told in a line."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from effbench.checks.errors import first_line, kind_and_line
from effbench.checks.fields import check_arguments, shown
from effbench.compression.layers import tables_of, weight_layers, weights_of
from effbench.config.keys import MOVED_OPTIONS
from effbench.config.training import check_options
from effbench.data import ImageData
from effbench.measure.size import float32_bytes
from effbench.plan.blueprint import Blueprint
from effbench.plan.chain import Chain
from effbench.plan.source_code import is_own
from effbench.plan.sources import build_network, load_data, load_task
from effbench.tasks import Task
from effbench.training.freezing import classifier_of
from effbench.training.layout import StridedPointwise, WatchStridedPointwise

MAX_SIDE = 8192
"""Pixels: one image of a larger side takes more memory than a whole batch should."""


def read_data(data: Blueprint) -> ImageData:
    """Return the data set. ValueError for what is no data set, and for options of the wrong kind."""
    try:
        _check_options(data)
        loaded: object = load_data(data)
    except ValueError as error:
        message = str(error)
        if not message.startswith("data"):
            message = f"data{'.' if message.partition('=')[0] in data.options else ': '}{message}"
        raise ValueError(message) from None
    except (Exception, SystemExit) as error:
        what = f"{_what_and_where(error)}{_given_to(data, 'data')}"
        raise ValueError(f"data: {data.target} can't be loaded: {what}") from None
    if not isinstance(loaded, ImageData):
        raise ValueError(f"data._target_={data.target}: gives a {type(loaded).__name__}, not an ImageData")
    return loaded


def _check_options(data: Blueprint) -> None:
    for name in ("side", "split_seed"):
        value = data.options.get(name, 1)
        if name == "side" and value is None and not is_own(data.callable):
            continue  # of a user's data: as they are
        if isinstance(value, bool) or not isinstance(value, int) or value < (name == "side"):
            raise ValueError(f"data.{name}={shown(value)}: must be a whole number, {int(name == 'side')} or more")
        if name == "side" and value > MAX_SIDE:
            raise ValueError(f"data.side={value}: must be a whole number, 1 to {MAX_SIDE}")
    if is_own(data.callable):
        check_arguments(inspect.unwrap(data.callable), data.options)
    for key, instead in MOVED_OPTIONS.items():
        name = key.removeprefix("data.")
        if name in data.options and not (data.takes_anything or name in data.parameters):
            raise ValueError(f"{key}: there is no such key any more; give {instead}")


def read_task(task: Blueprint) -> Task:
    """Return the task. ValueError for what is no task, and for options of the wrong kind."""
    try:
        loaded: object = load_task(task)
    except ValueError as error:
        raise ValueError(f"task: {error}") from None
    except (Exception, SystemExit) as error:
        raise ValueError(f"task: {task.target} can't be made: {_what_and_where(error)}") from None
    if not isinstance(loaded, Task):
        raise ValueError(f"task._target_={task.target}: gives a {type(loaded).__name__}, not a Task")
    return loaded


@dataclass(frozen=True)
class Trial:
    """What is known of a network that was built, and run on one image of each side."""

    float32_bytes: int
    is_grouped: bool
    """Whether it has grouped or depthwise convolutions."""
    strided: frozenset[StridedPointwise]
    """Its strided 1 x 1 convolutions at the side at which it is trained, which torch may not train in any layout."""
    layers: tuple[str, ...]
    """The names of its convolution and linear layers, and of its other weights: attention's, recurrent ones."""
    tables: tuple[str, ...]
    """The names of its embeddings, position tables and such."""
    modules: tuple[str, ...]
    """The names of its modules."""
    trained: tuple[str, ...]
    """The names of its trained parameters."""
    classifier: str
    """The name of the layer that gives its outputs; "" where it has no layers."""
    parameters: frozenset[tuple[int, ...]]
    """The shapes of its trained parameters, no dimension larger than 4."""
    training_problem: str
    """Why it can't be trained, though it can be evaluated; empty where it can."""


def check_shapes(
    network: Blueprint, task: Blueprint, data: Blueprint, side: int, eval_side: int, /, *, where: str
) -> Trial:
    """Try a network out. ValueError where it can't be built, or run at both sides."""
    outcome = _try_out(network, task, data, side, eval_side)
    if isinstance(outcome, str):
        raise ValueError(outcome if where == "reference" else f"{where}: {outcome}")
    return outcome


def check_training(chain: Chain, /, *, where: str) -> None:
    """Refuse a chain that trains a network which can't be trained: ValueError."""
    if any(step.stage.TRAINS for step in chain.plain_steps):
        trial = check_shapes(chain.network, chain.task, chain.data, chain.side, chain.side, where=where)
        if trial.training_problem:
            problem = f"{chain.network.target} {trial.training_problem}"
            raise ValueError(problem if where == "reference" else f"{where}: {problem}")
        check_options(chain, trial.parameters)


@lru_cache(maxsize=1024)
def _try_out(network: Blueprint, task: Blueprint, data: Blueprint, side: int, eval_side: int) -> Trial | str:
    """Return what a trial shows of a network, or why it can't be run."""
    loaded, purpose = load_data(data), read_task(task)
    try:
        model = build_or_say_why(network, lambda: build_network(network, purpose, loaded, side))
    except ValueError as error:
        return str(error)
    strided: dict[int, set[StridedPointwise]] = {}
    for pixels in sorted({side, eval_side}):
        try:
            with torch.random.fork_rng(devices=[]), torch.inference_mode(), WatchStridedPointwise() as watch:
                strided[pixels] = watch.found
                outputs = model.eval()(torch.zeros(1, loaded.channels, pixels, pixels))
        except (Exception, SystemExit) as error:
            return f"{network.target} can't take images of {pixels} x {pixels}: {_what_and_where(error)}"
        try:
            purpose.check_outputs(outputs, loaded, side=pixels)
        except ValueError as error:
            hint = _hint(network, loaded, purpose)
            return f"{network.target} {error}{hint}"
    return Trial(
        float32_bytes=float32_bytes(model),
        is_grouped=any(getattr(module, "groups", 1) != 1 for module in model.modules()),
        strided=frozenset(strided[side]),
        layers=tuple(
            dict.fromkeys(
                [
                    *(name for name, _ in weight_layers(model)),
                    *(n for weight in weights_of(model) for n in weight.names),
                ]
            )
        ),
        tables=tuple(name for table in tables_of(model) for name in table.names),
        modules=tuple(name for name, _module in model.named_modules()),
        trained=tuple(name for name, parameter in model.named_parameters() if parameter.requires_grad),
        classifier=classifier_of(model),
        parameters=frozenset(tuple(min(4, n) for n in p.shape) for p in model.parameters() if p.requires_grad),
        training_problem=_training_problem(model, purpose, loaded, side),
    )


def build_or_say_why(network: Blueprint, build: Callable[[], nn.Module], /) -> nn.Module:
    """Return what `build` makes of a network's blueprint. ValueError, in one line, for whatever goes wrong."""
    try:
        if is_own(network.callable):
            check_arguments(inspect.unwrap(network.callable), network.options)
        with torch.random.fork_rng(devices=[]):
            return build()
    except ValueError as error:
        option = re.match(r"\w*", str(error))
        is_option = option is not None and option[0] in network.options
        raise ValueError(f"{'model.' if is_option else ''}{error}") from None
    except (Exception, SystemExit) as error:  # whatever a user's network raises
        what = f"{_what_and_where(error)}{_given_to(network, 'model')}"
        raise ValueError(f"{network.target} can't be built: {what}") from None


def _hint(network: Blueprint, data: ImageData, task: Task) -> str:
    """Say what may help where a factory was offered nothing, because it does not say what it takes."""
    if not network.takes_anything or "num_classes" in {*network.options, *network.parameters}:
        return ""
    return f"; it takes any keyword: give the one for classes, as in +model.num_classes={task.n_outputs(data)}"


def _training_problem(model: nn.Module, task: Task, data: ImageData, side: int) -> str:
    """Return why a network can't be trained, beginning with a verb; "" where it can. It is of no use afterwards."""
    try:
        with torch.random.fork_rng(devices=[]):
            outputs = model.train()(torch.zeros(2, data.channels, side, side))
        task.check_outputs(outputs[:1] if isinstance(outputs, Tensor) else outputs, data, side=side)
        if any(parameter.requires_grad for parameter in model.parameters()):
            outputs.float().sum().backward()
    except ValueError as error:
        if str(error).startswith("must give"):
            return f"in training {error}; leave out auxiliary outputs"
        return f"can't be trained: {_what_and_where(error)}"
    except (Exception, SystemExit) as error:
        return f"can't be trained: {_what_and_where(error)}"
    return ""


def _given_to(made: Blueprint, group: str) -> str:
    """Return which options were given that are not the defaults, as far as a line takes them: one may be the cause."""
    parameters = inspect.signature(made.callable).parameters
    given = {
        name: value
        for name, value in made.options.items()
        if name not in parameters or parameters[name].default != value
    }
    shown_ones = [f"{group}.{name}={text}" for name, value in given.items() if len(text := shown(value)) <= 40]
    return f" (given: {', '.join(shown_ones)})" if shown_ones else ""


def _what_and_where(error: BaseException) -> str:
    """Return an exception in one line, with the line of the user's own file that raised it, if one did."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_NOT_THE_USERS)]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{first_line(error) if isinstance(error, ValueError) else kind_and_line(error)}{place}"


_NOT_THE_USERS = (str(Path(__file__).parents[1]), str(Path(torch.__file__).parent), "<")
