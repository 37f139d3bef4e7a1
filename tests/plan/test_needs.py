"""Which networks a chain makes on its way, and which of them last."""

import dataclasses

from effbench.plan.chain import Rounds, Step
from effbench.plan.keys import prefix_keys_after
from effbench.plan.needs import lasting_keys, needed_keys, teacher_keys
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.train import Train

TRAIN = Step("train", Train(epochs=1, lr=0.1))
EARLY = Step("early", Train(epochs=1, lr=0.1, fraction=0.5))
FINETUNE = Step("finetune", Train(epochs=1, lr=0.01))
PRUNE = Step("prune", Prune(ratio=0.5))
QUANTIZE = Step("quantize", Quantize(bits=4))


def kept_steps(chain):
    """Return the positions of the steps after which the network lasts."""
    return [number for number, key in enumerate(chain.prefix_keys) if key in lasting_keys(chain)]


def test_what_is_trained_and_the_end_last_and_what_is_between_is_passed(make_chain):
    assert kept_steps(make_chain([TRAIN, PRUNE, FINETUNE, QUANTIZE])) == [1, 4]
    assert kept_steps(make_chain([EARLY, TRAIN, PRUNE, FINETUNE])) == [1, 2, 4]
    assert kept_steps(make_chain([PRUNE, TRAIN, FINETUNE])) == [2, 3]
    assert kept_steps(make_chain([FINETUNE, PRUNE, QUANTIZE])) == [3]


def test_trainings_of_later_rounds_are_passed(make_chain):
    again = dataclasses.replace(TRAIN, occurrence=1)
    assert kept_steps(make_chain([TRAIN, PRUNE, again, QUANTIZE])) == [1, 4]


def test_of_rounds_their_steps_are_needed_too_and_only_the_end_lasts(make_chain):
    rounds = Rounds(((PRUNE, FINETUNE), (dataclasses.replace(PRUNE, occurrence=1),)))
    chain = make_chain([TRAIN, rounds, QUANTIZE])
    inner = prefix_keys_after(chain.prefix_keys[1], rounds.steps)
    assert needed_keys(chain) == (*chain.prefix_keys[:2], *inner, *chain.prefix_keys[2:])
    assert kept_steps(chain) == [1, 3]
    assert not lasting_keys(chain) & set(inner)


def test_teachers_are_needed_and_last(make_chain):
    teacher = make_chain([TRAIN, PRUNE, FINETUNE], seed=7)
    chain = make_chain([dataclasses.replace(TRAIN, teacher=teacher), PRUNE])
    assert set(needed_keys(chain)) == {*teacher.prefix_keys, *chain.prefix_keys}
    assert teacher_keys(chain) == {teacher.prefix_keys[1], teacher.key}
    assert lasting_keys(chain) == {teacher.prefix_keys[1], teacher.key, *chain.prefix_keys[1:]}
