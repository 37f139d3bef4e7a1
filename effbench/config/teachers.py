"""Who teaches: the run behind each stage that learns from a teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import cast

from effbench.config.command_line import declared_networks
from effbench.config.trial import check_shapes
from effbench.plan.blueprint import Blueprint
from effbench.plan.point import Point, load_data
from effbench.plan.recipe import Rounds
from effbench.plan.stage import Step
from effbench.stages.distill import Distill
from effbench.stages.load import Load
from effbench.stages.train import Train

Steps = tuple[Step | Rounds, ...]


def with_teachers(steps: Sequence[Step | Rounds], reference: Point | None, /) -> Steps:
    """Give every stage that learns its teacher, made from the reference of its point (None: of a reference itself)."""
    return tuple(_taught(step, reference) for step in steps)


def _taught(step: Step | Rounds, reference: Point | None) -> Step | Rounds:
    if isinstance(step, Rounds):
        groups = tuple(tuple(_taught_step(part, reference) for part in group) for group in step.rounds)
        return dataclasses.replace(step, rounds=groups)
    return _taught_step(step, reference)


def _taught_step(step: Step, reference: Point | None) -> Step:
    if not isinstance(step.stage, Distill):
        return step
    if reference is None:
        raise ValueError(
            f"{step}: a reference has no teacher; give the axis that brings the stage in, as in distill=0.9"
        )
    return dataclasses.replace(step, teacher=_teacher_of(step.stage, reference, f"stage.{step.name}"))


def _teacher_of(stage: Distill, reference: Point, where: str) -> Point:
    """Return the run whose network teaches. ValueError where there is none such."""
    if stage.teacher in declared_networks():
        return _of_another_network(stage, reference, where)
    teacher = dataclasses.replace(reference, label=f"teacher ({stage.teacher})")
    if stage.teacher_alpha is not None:
        if "alpha" not in reference.network.parameters:
            raise ValueError(f"{where}.teacher_alpha: the network {reference.network.target} has no alpha")
        teacher = dataclasses.replace(teacher, network=reference.network.with_options(alpha=stage.teacher_alpha))
    if stage.teacher not in ("reference", "wide"):
        return _loaded(teacher, stage, where)
    try:
        teacher.fresh_network()
    except ValueError as error:
        raise ValueError(f"{where}.teacher_alpha={stage.teacher_alpha}: {error}") from None
    if stage.teacher_fraction is None:
        return teacher
    return dataclasses.replace(teacher, steps=_on_fraction(teacher.steps, stage.teacher_fraction))


def _of_another_network(stage: Distill, reference: Point, where: str) -> Point:
    """Return the run that trains another network on the same data, as the reference's first training does."""
    options = dict(declared_networks()[stage.teacher])
    network = Blueprint(options.pop("_target_"), options)
    if stage.teacher_alpha is not None:
        if "alpha" not in network.parameters:
            raise ValueError(f"{where}.teacher_alpha: the network {stage.teacher} has no alpha")
        network = network.with_options(alpha=stage.teacher_alpha)
    data = reference.data
    if stage.augment is not None:
        if "augment" not in data.parameters:
            raise ValueError(f"{where}.augment={stage.augment}: must be null with {data.target}, which has no augment")
        data = data.with_options(augment=stage.augment)
    check_shapes(network, data, reference.side, reference.side, where=f"{where}.teacher={stage.teacher}")
    training = next((step for step in reference.plain_steps if isinstance(step.stage, Train)), None)
    if training is None:
        raise ValueError(f"{where}.teacher={stage.teacher}: the recipe trains no reference, as its teacher would be")
    if stage.teacher_epochs is not None:
        changed = dataclasses.replace(cast(Train, training.stage), epochs=stage.teacher_epochs)
        training = dataclasses.replace(training, stage=changed)
    teacher = dataclasses.replace(
        reference,
        label=f"teacher ({stage.teacher})",
        network=network,
        data=data,
        fingerprint=load_data(data).fingerprint,
        seed=reference.seed if stage.teacher_seed is None else stage.teacher_seed,
        steps=(training,),
    )
    if stage.teacher_fraction is None:
        return teacher
    return dataclasses.replace(teacher, steps=_on_fraction(teacher.steps, stage.teacher_fraction))


def _loaded(teacher: Point, stage: Distill, where: str) -> Point:
    try:
        load = Load.of(stage.teacher)
        load.load_into(teacher.fresh_network())
    except ValueError as error:
        known = ", ".join(sorted(declared_networks()))
        raise ValueError(
            f"{where}.teacher={stage.teacher}: must be reference, wide, a network ({known}) or a weights file; {error}"
        ) from None
    return dataclasses.replace(teacher, steps=(Step("load", load),))


def _on_fraction(steps: Steps, fraction: float) -> Steps:
    """Return the steps with every training on another share of the training split."""

    def changed(step: Step) -> Step:
        if not hasattr(step.stage, "fraction"):
            return step
        return dataclasses.replace(step, stage=dataclasses.replace(step.stage, fraction=fraction))  # type: ignore[type-var]

    return tuple(
        dataclasses.replace(step, rounds=tuple(tuple(changed(part) for part in group) for group in step.rounds))
        if isinstance(step, Rounds)
        else changed(step)
        for step in steps
    )
