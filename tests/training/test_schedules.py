"""The learning rate over a training: effbench's own, torch's schedulers, and what is refused before anything starts."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from effbench.plan.components import TargetComponent
from effbench.training.length import Length
from effbench.training.loop import TrainingOptions, fit
from effbench.training.optimizers import make_optimizer
from effbench.training.schedules import Schedule, check_schedule, rate_of, unit_of, warm_up_then_cosine

RATES = "torch.optim.lr_scheduler."
LENGTH = Length(epochs=6, n_examples=40, batch_size=10)
SGD = TargetComponent.read({"_target_": "torch.optim.SGD", "momentum": 0.9})


def scheduler(name, **options):
    return TargetComponent.read({"_target_": RATES + name, **options})


def made(component, **options):
    options = TrainingOptions(epochs=6, lr=0.1, batch_size=10, optimizer=SGD, scheduler=component, **options)
    check_schedule(options, LENGTH)
    optimizer = make_optimizer(nn.Linear(2, 2), options)
    return optimizer, Schedule(optimizer, options, LENGTH)


def rates(component, **options):
    """Return the rate of each step, 24 of them."""
    optimizer, schedule = made(component, **options)
    seen = []
    for _ in range(6):
        for _ in range(4):
            seen.append(rate_of(optimizer))
            optimizer.step()
            schedule.after_step()
        schedule.after_epoch(None if schedule.watches is None else 1.0)
    return seen


def expected_rates(make, *, by):
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9)
    schedule, seen = make(optimizer), []
    for step in range(1, 25):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if by == "step" or step % 4 == 0:
            schedule.step()
    return seen


LR = torch.optim.lr_scheduler
TORCHS = [
    (scheduler("CosineAnnealingLR"), "epoch", lambda o: LR.CosineAnnealingLR(o, T_max=6)),
    (scheduler("CosineAnnealingLR", T_max=3, eta_min=0.01), "epoch", lambda o: LR.CosineAnnealingLR(o, 3, 0.01)),
    (scheduler("StepLR", step_size=2), "epoch", lambda o: LR.StepLR(o, 2)),
    (scheduler("MultiStepLR", milestones=[1, 4], gamma=0.5), "epoch", lambda o: LR.MultiStepLR(o, [1, 4], 0.5)),
    (scheduler("ExponentialLR", gamma=0.9), "epoch", lambda o: LR.ExponentialLR(o, 0.9)),
    (scheduler("CosineAnnealingWarmRestarts", T_0=2), "epoch", lambda o: LR.CosineAnnealingWarmRestarts(o, 2)),
    (scheduler("PolynomialLR", total_iters=6), "epoch", lambda o: LR.PolynomialLR(o, 6)),
    (scheduler("OneCycleLR"), "step", lambda o: LR.OneCycleLR(o, 0.1, total_steps=24)),
    (
        scheduler("OneCycleLR", epochs=12, steps_per_epoch=3),
        "step",
        lambda o: LR.OneCycleLR(o, 0.1, epochs=12, steps_per_epoch=3),
    ),
    (scheduler("CyclicLR", base_lr=0.01, step_size_up=3), "step", lambda o: LR.CyclicLR(o, 0.01, 0.1, step_size_up=3)),
]


@pytest.mark.parametrize(("component", "by", "make"), TORCHS, ids=lambda value: getattr(value, "target", None))
def test_a_class_of_torchs_gives_its_own_rates_its_length_filled_in(component, by, make):
    assert unit_of(TrainingOptions(epochs=1, lr=0.1, scheduler=component)) == by
    assert rates(component) == expected_rates(make, by=by)


def test_the_unit_can_be_chosen():
    by_step = rates(scheduler("CosineAnnealingLR"), schedule_by="step")
    assert by_step == expected_rates(lambda o: LR.CosineAnnealingLR(o, T_max=24), by="step")


def test_a_warm_up_rises_in_a_line_and_the_scheduler_has_the_rest():
    by_epoch = rates(scheduler("CosineAnnealingLR"), warm_up_epochs=2)[::4]
    assert by_epoch[:3] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])
    assert by_epoch[3:] == pytest.approx(expected_rates(lambda o: LR.CosineAnnealingLR(o, T_max=4), by="epoch")[4:16:4])
    by_step = rates(scheduler("ExponentialLR", gamma=0.5), schedule_by="step", warm_up_epochs=0.5)
    assert by_step[:4] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.05])
    own = rates(None, warm_up_epochs=1)
    assert own[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert own[4:] == sorted(own[4:], reverse=True)


def test_a_plateau_watches_what_its_mode_says():
    for mode, watched, worse in (("min", "loss", 2.0), ("max", "quality", 0.5)):
        optimizer, schedule = made(scheduler("ReduceLROnPlateau", mode=mode, patience=0))
        assert schedule.watches == watched
        schedule.after_epoch(1.0)
        assert rate_of(optimizer) == 0.1
        schedule.after_epoch(worse)
        assert rate_of(optimizer) == pytest.approx(0.01)


def test_training_follows_it(toy_data, toy_network):
    seen = []
    options = TrainingOptions(
        epochs=3, lr=0.1, batch_size=64, optimizer=SGD, scheduler=scheduler("ExponentialLR", gamma=0.1)
    )
    fit(
        copy.deepcopy(toy_network()),
        toy_data,
        options,
        side=8,
        generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
        loss=lambda outputs, images, targets: F.cross_entropy(outputs, targets),
        on_epoch=lambda record: seen.append(record.lr),
    )
    assert seen == pytest.approx([0.1, 0.01, 0.001])


@pytest.mark.parametrize(
    ("component", "others", "message"),
    [
        (scheduler("StepLR"), {}, "step_size must be given"),
        (scheduler("StepLR", step=3), {}, "takes no option 'step'; its options: "),
        (scheduler("StepLR", step_size=0), {}, "ZeroDivisionError"),
        (scheduler("MultiStepLR", milestones=3), {}, "TypeError"),
        (scheduler("OneCycleLR", total_steps=20), {}, "is made for 20 steps, and the training has 24"),
        (scheduler("OneCycleLR", pct_start=2.0), {}, "Expected float between 0 and 1"),
        (scheduler("OneCycleLR"), {"warm_up_epochs": 1}, "can't follow a warm-up: warm_up_epochs=1 must be 0 or null"),
        (scheduler("ReduceLROnPlateau"), {"schedule_by": "step"}, "looks at whole epochs: schedule_by must be epoch"),
        (scheduler("ReduceLROnPlateau", mode="most"), {}, "mode most is unknown!"),
        (scheduler("ExponentialLR", gamma=-1.0), {}, "makes a learning rate of -0.1"),
        (scheduler("LambdaLR", lr_lambda="half"), {}, "TypeError"),
        (
            scheduler("SequentialLR", schedulers=[{"_target_": RATES + "CosineAnnealingLR"}], milestones=[]),
            {},
            "CosineAnnealingLR: T_max must be given",
        ),
    ],
)
def test_what_cannot_run_over_the_training_is_refused(component, others, message):
    with pytest.raises(ValueError) as refusal:
        made(component, **others)
    assert str(refusal.value).startswith(f"scheduler: {component.target}: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_another_class_is_refused():
    with pytest.raises(ValueError, match=r"^scheduler\._target_=torch\.optim\.SGD: must be a class derived from"):
        made(TargetComponent.read("torch.optim.SGD"))


@pytest.mark.parametrize("n_steps", [1, 2, 10, 500])
def test_the_learning_rate_rises_and_then_falls_along_a_cosine_to_zero(n_steps):
    factor = warm_up_then_cosine(n_steps, max(1, round(0.1 * n_steps)))
    factors = [factor(step) for step in range(n_steps)]
    peak = factors.index(max(factors))
    assert max(factors) == pytest.approx(1)
    assert min(factors) > 0
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert peak <= max(1, 0.1 * n_steps)
    if n_steps == 500:
        assert factors[0] == pytest.approx(1 / 50)
        assert factors[275] == pytest.approx(0.5)  # half of the way down
        assert factors[-1] < 1e-4
