"""Networks in other clothes: compiled, pruned or normed by torch's own means, in half precision, not run yet."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

from effbench.codec import decode, encode
from effbench.compression.constraints.copies import copy_network, plain_network
from effbench.compression.constraints.masks import Mask
from effbench.compression.constraints.stack import bake, constraints_on, register
from effbench.compression.layers import weights_of
from effbench.measure.compute import count_cost
from effbench.measure.size import float32_bytes
from effbench.stages.prune import Prune, sparsity
from effbench.stages.quantize import Quantize
from effbench.stages.share import Share

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*spectral_norm. is deprecated:FutureWarning"),
]


def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4))


def pruned_by_torch(model):
    torch_prune.l1_unstructured(model[1], "weight", 0.75)
    torch_prune.ln_structured(model[3], "weight", 0.25, n=2, dim=0)
    torch_prune.random_unstructured(model[3], "weight", 0.25)
    torch_prune.random_unstructured(model[3], "bias", 0.5)
    return model


def weight_normed(model):
    torch.nn.utils.weight_norm(model[1])
    torch.nn.utils.weight_norm(model[3], dim=None)
    return model


def spectrally_normed(model):
    torch.nn.utils.spectral_norm(model[1])
    return model


def normed_anew(model):
    parametrizations.weight_norm(model[1])
    parametrizations.spectral_norm(model[3])
    return model


def compiled(model):
    """Wrap a part and the whole as `torch.compile` does; nothing is compiled before it runs."""
    model[1] = torch.compile(model[1], backend="eager")
    return torch.compile(model, backend="eager")


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


def remembering(model):
    """Keep a tensor of the last forward pass, as networks do that show their attention."""
    model[1].register_forward_hook(lambda module, _, output: setattr(module, "seen", output))
    return model


CLOTHES = [
    pruned_by_torch,
    weight_normed,
    spectrally_normed,
    normed_anew,
    compiled,
    compiled_in_place,
    remembering,
    nn.Module.half,
    nn.Module.bfloat16,
    nn.Module.double,
]


@pytest.fixture(params=CLOTHES, ids=lambda clothe: clothe.__name__)
def make(request):
    def make(seed=0, *, has_run=False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = request.param(plain())
            if has_run and not any(type(module).__name__ == "OptimizedModule" for module in model.modules()):
                model._compiled_call_impl = None
                model(inputs(model))
            return model

    return make


def inputs(model):
    dtype = next(model.parameters()).dtype
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)


def weights_in_use(model):
    plainly = model._orig_mod if hasattr(model, "_orig_mod") else model
    return [getattr(layer, "_orig_mod", layer).weight.detach() for layer in (plainly[1], plainly[3])]


@pytest.mark.parametrize("has_run", [False, True])
def test_a_copy_is_the_same_network_and_leaves_the_original_alone(make, has_run):
    model = make(has_run=has_run).eval()
    state, kinds = copy.deepcopy(dict(model.state_dict())), [type(module) for module in model.modules()]
    before = torch.get_rng_state()
    copied = copy_network(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert [type(module) for module in model.modules()] == kinds
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not {id(p) for p in copied.parameters()} & {id(p) for p in model.parameters()}
    assert [weight.name for weight in weights_of(copied)] == ["1", "3"]
    for weight, used in zip(weights_of(copied), weights_in_use(model), strict=True):
        # Before it has run, the old spectral norm leaves the weight as it is.
        assert torch.allclose(weight.value(), used) or not has_run
    copy.deepcopy(copied)


def test_it_counts_what_is_in_use_and_its_file_comes_back(make):
    model = make(has_run=True).eval()
    cost = count_cost(model, (1, 8, 8))
    n_params = 64 * 8 + 8 + 8 * 4 + 4
    assert (cost.macs, cost.params) == (64 * 8 + 8 * 4, n_params)
    assert cost.macs_effective == sum(int(weight.count_nonzero()) for weight in weights_in_use(model))
    assert float32_bytes(model) == 4 * n_params
    restored = decode(encode(model), make(seed=1))
    assert type(restored) is nn.Sequential
    with torch.no_grad():
        assert torch.allclose(restored.eval()(inputs(model)), bake(model).eval()(inputs(model)), rtol=0, atol=0)


@pytest.mark.matrix(fast=15)
@pytest.mark.parametrize("stage", [Prune(ratio=0.75), Quantize(bits=3), Share(values=4, values_bias=2)])
def test_stages_act_on_it(stage, make, toy_data, make_context):
    model = make(has_run=True).eval()
    state = copy.deepcopy(dict(model.state_dict()))
    made = stage.apply(model, make_context(toy_data)).eval()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(constraints_on(*weight.places[0]) for weight in weights_of(made))
    if isinstance(stage, Prune):
        assert sparsity(made) == pytest.approx(0.75, abs=1e-3)
    restored, baked = decode(encode(made), make(seed=1)).state_dict(), bake(made).state_dict()
    assert restored.keys() == baked.keys()
    assert all(torch.equal(restored[name], baked[name]) for name in baked)


def test_masks_of_torch_hold_in_training():
    copied = copy_network(pruned_by_torch(plain()))
    mask = constraints_on(copied[1], "weight")[0]
    assert isinstance(mask, Mask)
    assert int(mask.mask.sum()) == 64 * 8 // 4
    copied(torch.randn(2, 1, 8, 8)).sum().backward()
    torch.optim.SGD(copied.parameters(), lr=1).step()
    assert (copied[1].weight[~mask.mask] == 0).all()


def test_a_mask_of_other_numbers_is_multiplied_for_good():
    model = plain()
    torch_prune.custom_from_mask(model[1], "weight", torch.full((8, 64), 0.5))
    expected = model[1].weight.detach().clone()
    copied = copy_network(model)
    assert not constraints_on(copied[1], "weight")
    assert torch.equal(copied[1].weight, expected)


def test_an_ordinary_network_is_given_back_as_it_is():
    model = plain()
    assert plain_network(model) is model
    register(model[1], "weight", Mask(torch.ones(8, 64)))
    assert plain_network(model) is model


def test_a_lazy_module_is_named():
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    for attempt in (copy_network, encode, float32_bytes, lambda model: count_cost(model, (1, 8, 8))):
        with pytest.raises(ValueError, match="1: a LazyLinear has no weights before it has run; run the"):
            attempt(model)
    model(torch.ones(1, 1, 8, 8))
    assert count_cost(model, (1, 8, 8)).params == 64 * 4 + 4


def test_a_scripted_network_is_not_counted():
    with pytest.warns(FutureWarning):
        scripted = torch.jit.script(plain())
    with pytest.raises(ValueError, match="can't be counted: it is scripted; give the network as it was before"):
        count_cost(scripted, (1, 8, 8))


def test_a_constraint_on_another_tensor_of_a_copy_leaves_the_original_alone(toy_data, make_context):
    once = Prune(ratio=0.5).apply(plain(), make_context(toy_data))
    twice = Share(values=4, values_bias=2).apply(once, make_context(toy_data))
    assert isinstance(once[1].bias, nn.Parameter)
    assert len(twice[1].bias.unique()) <= 3
    once(torch.ones(1, 1, 8, 8))


def test_a_state_made_in_the_forward_pass_is_no_obstacle():
    class Started(nn.Module):
        def __init__(self):
            super().__init__()
            self.r, self.f = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 4)

        def forward(self, x):
            start = torch.zeros(1, len(x), 6)
            return self.f(self.r(x[:, 0], (start, start))[0][:, -1])

    model = Started()
    expected = 8 * (24 * 8 + 24 * 6) + 24
    assert count_cost(model, (1, 8, 8)).macs == expected
    model(torch.randn(2, 1, 8, 8)).sum().backward()
    assert count_cost(model, (1, 8, 8)).macs == expected


def test_measuring_and_encoding_move_no_state_of_a_network_in_training_mode(make):
    model = make(has_run=True).train()
    state = copy.deepcopy(dict(model.state_dict()))
    files = [encode(model) for _ in range(2)]
    assert files[0] == files[1]
    assert count_cost(model, (1, 8, 8)) == count_cost(model, (1, 8, 8))
    assert float32_bytes(model) == float32_bytes(model)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
