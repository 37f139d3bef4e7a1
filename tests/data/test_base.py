import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from effbench.data.base import ImageData, Pass, subset


def pass_over(**changes):
    options = {"split": "train", "side": 8, "batch_size": 4, "generator": None, "fraction": 1.0, "numbered": False}
    options["augmented"] = False
    return Pass(**{**options, **changes})


@given(st.integers(1, 500), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_smaller_fraction_is_within_a_larger_one(n_examples, fraction, another):
    small, large = (subset(n_examples, share) for share in sorted((fraction, another)))
    assert set(small.tolist()) <= set(large.tolist())
    assert len(small) == max(1, round(min(fraction, another) * n_examples))
    assert torch.equal(small, small.unique())


class TestPass:
    def test_without_a_generator_examples_come_in_their_order(self):
        assert pass_over().examples(5).tolist() == [0, 1, 2, 3, 4]
        assert torch.equal(pass_over(fraction=0.4).examples(50), subset(50, 0.4))

    def test_a_generator_shuffles_the_same_examples_and_is_drawn_from_once(self):
        generator = torch.Generator().manual_seed(3)
        examples = pass_over(fraction=0.4, generator=generator).examples(50)
        assert torch.equal(examples.sort().values, subset(50, 0.4))
        assert not torch.equal(examples, subset(50, 0.4))
        again = torch.Generator().manual_seed(3)
        torch.randperm(20, generator=again)
        assert torch.equal(generator.get_state(), again.get_state())


class Ramp(ImageData):
    """What somebody may write: the three abstract things, and no more."""

    @property
    def fingerprint(self):
        return "0123456789abcdef"

    def _batches(self, wanted):
        for numbers in wanted.examples(self.n_examples(wanted.split)).split(wanted.batch_size):
            images = numbers.float().view(-1, 1, 1, 1).expand(-1, self.channels, wanted.side, wanted.side)
            yield images, numbers if wanted.numbered else self.labels[wanted.split][numbers]


@pytest.fixture
def ramp():
    labels = {split: torch.arange(n) % 3 for split, n in (("train", 10), ("val", 6), ("test", 5))}
    return Ramp(name="ramp", n_classes=3, channels=3, side=8, labels=labels)


def test_a_data_set_of_somebody_else_s(ramp):
    assert [ramp.n_examples(split) for split in ("train", "val", "test")] == [10, 6, 5]
    passed = list(ramp.batches("train", side=4, batch_size=4))
    assert [images.shape for images, _ in passed] == [(4, 3, 4, 4), (4, 3, 4, 4), (2, 3, 4, 4)]
    assert torch.cat([labels for _, labels in passed]).tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    numbers = torch.cat([n for _, n in ramp.batches("val", side=4, batch_size=4, fraction=0.5, numbered=True)])
    assert torch.equal(numbers, subset(6, 0.5))


def test_facts_can_not_be_changed(ramp):
    with pytest.raises(AttributeError, match="cannot assign to field 'side'"):
        ramp.side = 9


def test_batches_must_be_written():
    with pytest.raises(TypeError, match="abstract method"):
        ImageData(name="none", n_classes=2, channels=1, side=8, labels={})
