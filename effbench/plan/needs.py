"""Which networks a chain makes on its way, and which of them are worth more than the way."""

from __future__ import annotations

from collections.abc import Iterator

from effbench.plan.chain import Chain, Rounds, Step
from effbench.plan.keys import prefix_keys_after
from effbench.plan.recipe import FINETUNE


def needed_keys(chain: Chain, /) -> tuple[str, ...]:
    """Return the keys of every network from which the chain may go on: its own, those in its rounds, its teachers'."""
    return tuple(dict.fromkeys(_keys_on_the_way(chain)))


def lasting_keys(chain: Chain, /) -> frozenset[str]:
    """Return the keys of the networks that later sweeps may want: its last one, what its training led to, teachers.

    The others are passed through: rungs of a ladder, rounds, finetunings, from which no other run may ever start.
    """
    return frozenset({chain.key, *_trained_keys(chain), *teacher_keys(chain)})


def teacher_keys(chain: Chain, /) -> frozenset[str]:
    """Return the keys of the lasting networks of a chain's teachers."""
    return frozenset(key for teacher in _teachers(chain) for key in lasting_keys(teacher))


def _keys_on_the_way(chain: Chain) -> Iterator[str]:
    for teacher in _teachers(chain):
        yield from _keys_on_the_way(teacher)
    before, *later = chain.prefix_keys
    yield before
    for step, key in zip(chain.steps, later, strict=True):
        if isinstance(step, Rounds):  # their steps have the keys of rounds that are written out
            yield from prefix_keys_after(before, step.steps)
        yield key
        before = key


def _trained_keys(chain: Chain) -> Iterator[str]:
    """Yield the keys after the first trainings of a recipe, before anything is done to what they trained."""
    has_trained = False
    for step, key in zip(chain.steps, chain.prefix_keys[1:], strict=True):
        if isinstance(step, Step) and step.stage.TRAINS and step.name != FINETUNE:
            has_trained = True
            yield key
        elif has_trained:
            return


def _teachers(chain: Chain) -> Iterator[Chain]:
    return (step.teacher for step in chain.plain_steps if step.teacher is not None)
