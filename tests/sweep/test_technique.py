"""Single techniques, without a sweep."""

import pytest
import torch
from torch import nn

import effbench

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return effbench.models.small_cnn(channels=(4, 8), n_poolings=1)


def trained_on(network):
    """Take a step of training; return the network."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    nn.functional.cross_entropy(network(torch.rand(4, 1, 28, 28)), torch.arange(4)).backward()
    optimizer.step()
    return network.eval()


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    ("technique", "options", "smaller"),
    [
        ("prune", {"ratio": 0.9}, 0.5),
        ("prune", {"ratio": 0.5, "criterion": "random"}, 0.9),
        ("quantize", {"bits": 4}, 0.45),
        ("share", {"values": 8}, 0.5),
        ("prune_nm", {"pattern": "2:4"}, 0.9),
        ("low_rank", {"rank": 0.5}, 1.0),
        ("prune_channels", {"ratio": 0.5}, 0.7),
    ],
)
def test_what_it_gives_is_counted_trained_on_and_encoded(network, technique, options, smaller):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made = effbench.apply(
        technique, network, **options, **({"data": "digits"} if technique in ("prune_channels", "low_rank") else {})
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert len(effbench.encode(trained_on(made))) <= smaller * len(effbench.encode(network))
    assert effbench.count_cost(made, (1, 28, 28)).params > 0


def test_a_mask_holds_while_it_is_trained_on(network):
    pruned = effbench.apply("prune", network, ratio=0.9)
    zeros = pruned.features.conv2.weight == 0
    assert zeros.any() and (trained_on(pruned).features.conv2.weight[zeros] == 0).all()


def test_techniques_follow_each_other_and_training_is_one(network):
    pruned = effbench.apply("prune", network, ratio=0.5)
    tuned = effbench.apply("finetune", pruned, data="digits", epochs=1, fraction=0.05, seed=3)
    again = effbench.apply("finetune", pruned, data="digits", epochs=1, fraction=0.05, seed=3)
    coarse = effbench.apply("quantize", tuned, bits=4)
    zeros = pruned.features.conv2.weight == 0
    assert (coarse.features.conv2.weight[zeros] == 0).all() and not torch.equal(
        tuned.features.conv1.weight, network.features.conv1.weight
    )
    assert torch.equal(tuned.features.conv1.weight, again.features.conv1.weight)


@pytest.mark.parametrize(
    ("technique", "options", "message"),
    [
        ("prunne", {}, "prunne: there is no such technique; did you mean prune?"),
        ("prune", {}, "prune: ratio must be given"),
        ("prune", {"ratio": 2}, "stage.prune.ratio=2"),
        (
            "prune",
            {"ratio": 0.5, "criterium": "x"},
            "prune.criterium: there is no such option; did you mean",
        ),
        ("prune", {"ration": 0.5}, "prune.ration: there is no such option; did you mean prune.ratio?"),
        ("finetune", {"epochs": 1}, "finetune: looks at data; give data="),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(network, technique, options, message):
    with pytest.raises(ValueError) as caught:
        effbench.apply(technique, network, **options)
    assert message in str(caught.value)


def test_a_class_is_no_network():
    with pytest.raises(ValueError, match="must be a network, an instance of"):
        effbench.apply("prune", nn.Linear, ratio=0.5)


def test_it_says_on_which_share_it_acted(network, capsys):
    effbench.apply("prune", network, ratio=0.5, layers={"features.conv1": "skip"})
    assert "prune: acted on 9" in capsys.readouterr().err
