"""Steps that can't stand as a recipe has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from effbench.checks.fields import shown
from effbench.config.component_keys import STATED
from effbench.data.paths import remark
from effbench.plan.chain import Rounds, Step, Steps
from effbench.plan.layer_values import assign, beside
from effbench.plan.training_stage import TrainingStage
from effbench.training import freezing
from effbench.training.freezing import as_patterns


def check_layers(
    steps: Steps, layers: Sequence[str], tables: Sequence[str] = (), modules: Sequence[str] = (), /
) -> None:
    """Refuse a pattern of a stage's `layers` that meets none of the network's. ValueError names the stage.

    tables: the names of the network's embeddings and position tables, for stages that act on these, too; modules:
    those of all its modules, for stages that act on more than layers with weights.
    """
    for step in _each_step(steps):
        stage = step.stage
        known = [*layers, *(tables if stage.ACTS_ON_TABLES else ())]
        try:
            assign(beside(stage.layers, known, modules if stage.ACTS_ON_MODULES else ()), known, default=None)
        except ValueError as error:
            raise ValueError(f"stage.{step.name}.{error}") from None
        if step.stage.RENAMES_LAYERS:
            return


def layer_name(key: object, where: str, /) -> str:
    """Return the name or pattern of a layer that stands in `layers`, as it was read.

    A layer of nn.Sequential is called 3, which is read as a number. ValueError for one that does not come back from it.
    """
    if isinstance(key, float | bool) or key is None:
        raise ValueError(
            f"{where}.layers={{{shown(key)}: …}}: is read as no text; write ? for one of its characters, as in 1?10"
        )
    return str(key).strip()


def check_freeze(steps: Steps, parameters: Sequence[str], classifier: str, /) -> None:
    """Refuse patterns of what is frozen that meet nothing of the network. ValueError names the stage.

    parameters: the names of the network's trained parameters; classifier: that of the layer that gives its outputs.
    """
    for step in _each_step(steps):
        if isinstance(step.stage, TrainingStage):
            try:
                freezing.check_freeze(as_patterns(step.stage.freeze), parameters, classifier)
            except ValueError as error:
                raise ValueError(f"{step.name if step.name in STATED else f'stage.{step.name}'}.{error}") from None
        if step.stage.RENAMES_LAYERS:
            return


def _each_step(steps: Steps) -> Iterator[Step]:
    return (step for entry in steps for step in (entry.steps if isinstance(entry, Rounds) else (entry,)))


def check_training(steps: Steps, /) -> None:
    """Refuse what trains after a stage that ends training, and one that asks for it without. ValueError says why."""
    ended: tuple[str, str] | None = None
    asked: tuple[str, str] | None = None
    for step in _each_step(steps):
        if ended is not None and step.stage.TRAINS:
            raise ValueError(f"recipe.steps: {step.name} trains after {ended[0]}, and can't, as {ended[1]}")
        if step.stage.ends_training is not None:
            ended = step.name, step.stage.ends_training
        if step.stage.TRAINS:
            asked = None
        elif step.stage.asks_for_training is not None:
            asked = step.name, step.stage.asks_for_training
    if asked is not None:
        raise ValueError(f"recipe.steps: nothing trains after {asked[0]}: {asked[1]}")


def tell_of_lost_weights(steps: Steps, /, *, where: str) -> None:
    """Say that layers of a network that came with weights begin anew, and that nothing trains them, if nothing does."""
    each = list(_each_step(steps))
    if any(step.stage.DRAWS_WEIGHTS for step in each):
        untrained = "" if any(step.stage.TRAINS for step in each) else "; nothing trains them: give finetune.epochs=5"
        remark(f"{where}: the layers that are replaced begin at random, without the network's own weights{untrained}")
