import pytest
import torch

from effbench.compression.structure.channel_labels import Labels, roots_of, union


def test_what_meets_is_one_channel_and_what_goes_together_counts_each():
    labels = Labels()
    one, other, third = labels.new(3), labels.new(3), labels.new(3)
    labels.join(one, other, "")
    labels.tie(torch.stack([other, third], 1))
    channels, sets = labels.channels(), labels.sets()
    assert torch.equal(channels[one], channels[other])
    assert len(set(channels[torch.cat([one, third])].tolist())) == 6
    assert torch.equal(sets[one], sets[third])
    assert len(set(sets[one].tolist())) == 3


@pytest.mark.parametrize("first", ["keep", "tie"])
def test_what_goes_with_a_channel_that_stays_stays_for_its_reason(first):
    labels = Labels()
    one, other = labels.new(2), labels.new(2)

    def keep():
        labels.keep(one[:1], "it is read")

    def tie():
        labels.tie(torch.stack([one, other], 1))

    for step in (keep, tie) if first == "keep" else (tie, keep):
        step()
    labels.keep(one[:1], "another reason")
    assert labels.reason(other[:1]) == "it is read"
    assert labels.reason(other[1:]) is None


def test_what_meets_no_channel_stays():
    labels = Labels()
    one, other, third = labels.new(2), labels.new(2), labels.new(1)
    labels.join(one, torch.tensor([0, int(other[0])]), "it meets a constant")
    labels.tie(torch.tensor([[0, int(third)]]))
    assert labels.reason(one[:1]) == "it meets a constant"
    assert labels.reason(one[1:]) is labels.reason(other) is None
    assert "fixed size" in labels.reason(third)
    assert int(labels.channels()[third]) == int(third), "constants join nothing"


def test_roots_of_trees():
    parents = list(range(6))
    assert union(parents, 5, 3) == 3
    assert union(parents, 3, 1) == union(parents, 5, 1) == 1
    assert roots_of(parents) == [0, 1, 2, 1, 4, 1]
