"""Who teaches: the chain behind each stage that learns from a teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from effbench.config.members import members
from effbench.config.trial import check_shapes, check_training
from effbench.plan.blueprint import Blueprint
from effbench.plan.chain import Chain, Rounds, Step, Steps, map_steps
from effbench.plan.sources import fingerprint_of
from effbench.plan.teacher import TeacherRequest
from effbench.plan.user_factory import options_of
from effbench.stages.load import Load


def with_teachers(steps: Sequence[Step | Rounds], reference: Chain | None, /) -> Steps:
    """Give every stage that learns its teacher, made from the reference of its point (None: of a reference itself)."""
    return map_steps(tuple(steps), lambda step: _taught(step, reference))


def _taught(step: Step, reference: Chain | None) -> Step:
    request = step.stage.teacher_request
    if request is None:
        return step
    if reference is None:
        raise ValueError(
            f"{step}: a reference has no teacher; give the axis that brings the stage in, as in distill=0.9"
        )
    return dataclasses.replace(step, teacher=_teacher(request, reference, f"stage.{step.name}"))


def _teacher(request: TeacherRequest, reference: Chain, where: str) -> Chain:
    """Return the chain whose network teaches. ValueError where there is none such."""
    if request.name in members("model"):
        return _on_fraction(_another_network(request, reference, where), request.fraction)
    teacher = reference
    if request.alpha is not None:
        if "alpha" not in reference.network.parameters:
            raise ValueError(f"{where}.teacher_alpha: the network {reference.network.target} has no alpha")
        teacher = dataclasses.replace(teacher, network=reference.network.with_options(alpha=request.alpha))
    if request.name not in ("reference", "wide"):
        return _loaded(teacher, request, where)
    try:
        teacher.fresh_network()
    except ValueError as error:
        raise ValueError(f"{where}.teacher_alpha={request.alpha}: {error}") from None
    return _on_fraction(teacher, request.fraction)


def _another_network(request: TeacherRequest, reference: Chain, where: str) -> Chain:
    """Return the chain that trains another network on the same data, as the reference's first training does."""
    network = Blueprint.from_node(members("model")[request.name])
    if request.alpha is not None:
        if "alpha" not in network.parameters:
            raise ValueError(f"{where}.teacher_alpha: the network {request.name} has no alpha")
        network = network.with_options(alpha=request.alpha)
    data = reference.data
    if request.augment is not None:
        if "augment" not in options_of(data):
            raise ValueError(f"{where}.augment={request.augment}: must be null, as {data.target} has no augment")
        data = data.with_options(augment=request.augment)
    side = reference.side
    check_shapes(network, reference.task, data, side, side, where=f"{where}.teacher={request.name}")
    training = next((step for step in reference.plain_steps if step.stage.TRAINS), None)
    if training is None:
        raise ValueError(f"{where}.teacher={request.name}: the recipe trains no reference, as its teacher would be")
    if request.epochs is not None:
        training = dataclasses.replace(training, stage=training.stage.with_training(epochs=request.epochs))
    teacher = dataclasses.replace(
        reference,
        network=network,
        data=data,
        fingerprint=fingerprint_of(data),
        seed=reference.seed if request.seed is None else request.seed,
        steps=(training,),
    )
    check_training(teacher, where=f"{where}.teacher={request.name}")
    return teacher


def _loaded(teacher: Chain, request: TeacherRequest, where: str) -> Chain:
    try:
        load = Load.of(request.name)
        load.load_into(teacher.fresh_network())
    except ValueError as error:
        known = ", ".join(sorted(members("model")))
        raise ValueError(
            f"{where}.teacher={request.name}: must be reference, wide, a network ({known}) or a weights file; {error}"
        ) from None
    return dataclasses.replace(teacher, steps=(Step("load", load),))


def _on_fraction(teacher: Chain, fraction: float | None) -> Chain:
    """Return the chain with every training on another share of the training split; None: as it is."""
    if fraction is None:
        return teacher

    def changed(step: Step) -> Step:
        return dataclasses.replace(step, stage=step.stage.with_training(fraction=fraction))

    return dataclasses.replace(teacher, steps=map_steps(teacher.steps, changed))
