"""A recipe written out as steps: groups repeated in rounds, or kept as one step where an end is to be found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from effbench.plan.chain import Rounds, Step, Steps, Until
from effbench.plan.stage import Stage

FINETUNE = "finetune"
"""The step that trains a network that is trained already; any other training step is its first."""
Entry = str | Sequence[str]
"""The name of a stage or of a phase of stages; or several of them, a group that is repeated in rounds."""
StagesAt = Callable[[str, int, int], Sequence[tuple[str, Stage]]]
"""stages_at(entry, round, n_rounds) -> the named stages that stand there; none for a technique at its neutral value."""


def lay_out(entries: Sequence[Entry], stages_at: StagesAt, /, *, rounds: int, until: Until | None = None) -> Steps:
    """Write a recipe out as steps.

    Each entry names a stage or a phase of stages. A list of entries is a group that is repeated `rounds` times, as in
    [train, [prune, finetune], quantize]; what stands outside a group stands in the only round of one. Where `until`
    says when rounds end, a group is one step that chooses how many of them to take. ValueError where a stage asks for a
    step that is not before it, and where `until` finds no group.
    """
    until = until or Until()
    if not until.is_never and all(isinstance(entry, str) for entry in entries):
        raise ValueError(
            "recipe.until: says when rounds end, and the recipe has none; write a group, as in [prune, finetune]"
        )
    steps: list[Step | Rounds] = []
    seen: dict[str, int] = {}

    def place(entry: str, position: int, n_rounds: int) -> Iterator[Step]:
        for name, stage in stages_at(entry, position, n_rounds):
            yield Step(name, stage, seen.get(name, 0))
            seen[name] = seen.get(name, 0) + 1

    for entry in entries:
        if isinstance(entry, str):
            steps += place(entry, 1, 1)
            continue
        written = [tuple(step for name in entry for step in place(name, k, rounds)) for k in range(1, rounds + 1)]
        if until.is_never or not any(written):
            steps += (step for group in written for step in group)
        else:
            steps.append(Rounds(tuple(written), until))
    _check_what_is_asked_for(steps, {"init"})
    return tuple(steps)


def best_of_finetunings(steps: Steps, /) -> Steps:
    """Return the steps of a reference, in which the best on validation of its finetunings is taken, none included.

    What follows the first training up to the last one becomes rounds, each ending with a training. Rounds that find
    their own end are all run: a reference has nothing that could break. What gives the network its form stands behind
    the rounds as well: it is done to a network that no finetuning made better, too.
    """
    plain = [part for step in steps for part in (step.steps if isinstance(step, Rounds) else (step,))]
    trainings = [number for number, step in enumerate(plain) if step.stage.TRAINS]
    first = next((number for number in trainings if plain[number].name != FINETUNE), -1)
    later = [number for number in trainings if number > first]
    if not later:
        return tuple(plain)
    starts = [first + 1, *(number + 1 for number in later[:-1])]
    rounds = tuple(tuple(plain[start : end + 1]) for start, end in zip(starts, later, strict=True))
    inner = {step.name: step for step in plain[first + 1 : later[-1]] if step.stage.FORMS_THE_NETWORK}
    forming = [replace(step, occurrence=step.occurrence + 1) for step in inner.values()]
    return (*plain[: first + 1], Rounds(rounds, keeps_best=True), *forming, *plain[later[-1] + 1 :])


def _check_what_is_asked_for(steps: Sequence[Step | Rounds], behind: set[str]) -> None:
    """Refuse a stage that asks for the network after a step that is not behind it."""
    for step in steps:
        if isinstance(step, Rounds):
            _check_what_is_asked_for(step.steps, set(behind))
            continue
        for name in step.stage.asks_for:
            if name not in behind:
                known = ", ".join(sorted(behind))
                raise ValueError(
                    f"{step}: asks for the network at {name!r}, which is no step before it; there are {known}"
                )
        behind.add(str(step))
