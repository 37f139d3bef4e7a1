import pytest
import torch

from effbench.models import small_cnn
from effbench.run.store import Store
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.train import Train


def same_bits(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def fresh_network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return small_cnn(num_classes=4, input_side=8, channels=(4, 6, 8))


@pytest.mark.matrix(fast=3)
@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("technique", [None, Prune(ratio=0.5), Quantize(bits=3)], ids=["none", "prune", "quantize"])
def test_going_on_from_the_store_gives_the_bits_of_going_on_at_once(
    toy_data, make_context, tmp_path, layout, technique
):
    train = Train(epochs=1, lr=1e-2, layout=layout)
    model = train.apply(fresh_network(), make_context(toy_data, step="train"))
    if technique is not None:
        model = technique.apply(model, make_context(toy_data))
    store = Store(tmp_path)
    store.put_model("key", model)
    kept = store.get_model("key", fresh_network())
    context = make_context(toy_data, step="finetune")
    assert same_bits(model, kept)
    assert same_bits(train.apply(model, context), train.apply(kept, context))


def test_each_step_of_a_recipe_draws_its_own_numbers(toy_data, toy_network, make_context):
    train = Train(epochs=1, lr=1e-2)
    first, again, second, other = (
        train.apply(toy_network(), make_context(toy_data, seed=seed, step=step))
        for seed, step in ((0, "finetune"), (0, "finetune"), (0, "finetune/1"), (1, "finetune"))
    )
    assert same_bits(first, again)
    assert not same_bits(first, second)
    assert not same_bits(first, other)


def test_no_epochs_are_neutral():
    assert Train(epochs=0, lr=0.1).is_neutral
    assert not Train(epochs=1, lr=0.1).is_neutral


def test_what_cannot_be_trained_with_is_refused_before_training():
    with pytest.raises(ValueError, match="epochs=-1"):
        Train(epochs=-1, lr=0.1)


def test_trains_at_the_side_of_the_context(toy_data, make_context):
    seen = set()
    network = fresh_network()
    network.register_forward_hook(lambda module, inputs, output: seen.add(tuple(inputs[0].shape[1:])))
    Train(epochs=1, lr=1e-2).apply(network, make_context(toy_data, side=6))
    assert seen == {(1, 6, 6)}
