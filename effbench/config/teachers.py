"""Who teaches: the chain behind each stage that learns from a teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from effbench.config.members import members
from effbench.config.teacher_networks import TeacherNetwork, teacher_network
from effbench.config.trial import check_shapes, check_training
from effbench.data.paths import listed
from effbench.plan.chain import Chain, Rounds, Step, Steps, map_steps
from effbench.plan.sources import fingerprint_of
from effbench.plan.stage import Stage
from effbench.plan.teacher import TeacherRequest
from effbench.plan.training_stage import TrainingStage
from effbench.plan.user_factory import options_of
from effbench.stages.distill import Distill
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
    where = f"stage.{step.name}"
    if request.labels is not None:
        return dataclasses.replace(step, stage=_with_labels(step.stage, reference, where))
    return dataclasses.replace(step, teacher=_teacher(request, reference, where))


def _with_labels(stage: Stage, reference: Chain, where: str) -> Stage:
    """Return a stage whose file of labels was checked against the data, and is known by its content."""
    assert isinstance(stage, Distill)
    try:
        return stage.with_checked_labels(reference.loaded_data())
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None


def _teacher(request: TeacherRequest, reference: Chain, where: str) -> Chain:
    """Return the chain whose network teaches. ValueError where there is none such."""
    try:
        another = (
            None if _is_file(request.name) else teacher_network(request.name, reference.data, known=members("model"))
        )
    except ValueError as error:
        raise ValueError(f"{where}.teacher={request.name}: {error}") from None
    if another is not None:
        return _on_fraction(_another_network(another, request, reference, where), request.fraction)
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


def _another_network(another: TeacherNetwork, request: TeacherRequest, reference: Chain, where: str) -> Chain:
    """Return the chain that trains another network on the same data, as the reference's first training does.

    One that comes with weights teaches as it is, unless `teacher_epochs` has it trained on.
    """
    network = another.network
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
    as_it_is = request.epochs == 0 or (another.comes_trained and request.epochs is None)
    training = next((step for step in reference.plain_steps if step.stage.TRAINS), None)
    if training is None and not as_it_is:
        raise ValueError(f"{where}.teacher={request.name}: the recipe trains no reference, as its teacher would be")
    if training is not None:
        own: dict[str, Any] = {} if request.epochs is None else {"epochs": request.epochs}
        # What is frozen is named as the student's modules are.
        own |= {"freeze": None} if isinstance(training.stage, TrainingStage) else {}
        training = dataclasses.replace(training, stage=training.stage.with_training(**own)) if own else training
    teacher = dataclasses.replace(
        reference,
        network=network,
        data=data,
        fingerprint=fingerprint_of(data),
        seed=(0 if as_it_is else reference.seed) if request.seed is None else request.seed,
        steps=() if training is None or as_it_is else (training,),
    )
    if as_it_is and another.comes_trained:
        _check_whole(teacher, f"{where}.teacher={request.name}")
    check_training(teacher, where=f"{where}.teacher={request.name}")
    return teacher


def _check_whole(teacher: Chain, where: str) -> None:
    """Refuse a teacher of which a part has fresh values, drawn from the seed: its labels would mean nothing."""
    one, other = (dataclasses.replace(teacher, seed=seed).fresh_network().state_dict() for seed in (0, 1))
    fresh = [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
    if fresh:
        raise ValueError(
            f"{where}: its weights are not for the {teacher.loaded_data().n_classes} classes of the data: "
            f"{listed(fresh)} would have fresh values; give weights for these classes, or teacher_epochs to train it"
        )


def _is_file(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # a text too long for a path, no such user, a zero byte
        return False


def _loaded(teacher: Chain, request: TeacherRequest, where: str) -> Chain:
    try:
        load = Load.of(request.name)
        load.load_into(teacher.fresh_network())
    except ValueError as error:
        known = ", ".join(sorted(members("model")))
        raise ValueError(
            f"{where}.teacher={request.name}: must be reference, wide, a network ({known}, one of torchvision, "
            f"timm:<name>, hf:<folder>, <module>:<function>, with :<weights> behind it) or a weights file; {error}"
        ) from None
    return dataclasses.replace(teacher, steps=(Step("load", load),))


def _on_fraction(teacher: Chain, fraction: float | None) -> Chain:
    """Return the chain with every training on another share of the training split; None: as it is."""
    if fraction is None:
        return teacher

    def changed(step: Step) -> Step:
        return dataclasses.replace(step, stage=step.stage.with_training(fraction=fraction))

    return dataclasses.replace(teacher, steps=map_steps(teacher.steps, changed))
