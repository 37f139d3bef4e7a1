import copy

import pytest
import torch
from torch import nn

from effbench.codec import decode, encode
from effbench.compression.constraints.described import describe
from effbench.compression.constraints.layer_inputs import DTYPES, InputCast, InputGrid, set_input
from effbench.compression.constraints.stack import bake
from effbench.measure.compute import count_cost
from effbench.measure.input_size import input_dtype
from effbench.measure.latency import measure_latency
from effbench.run.store import Store
from effbench.stages.precision import Precision
from effbench.stages.prune import Prune
from effbench.stages.quantize import Quantize
from effbench.stages.quantize_inputs import QuantizeInputs
from effbench.stages.train import Train

pytestmark = pytest.mark.parametrize("dtype", sorted(DTYPES))


@pytest.fixture(scope="module")
def trained(toy_data, toy_network, make_context):
    context = make_context(toy_data)
    return Train(epochs=5, lr=3e-3).apply(toy_network(), context), context


def outputs(model, context):
    with torch.no_grad():
        return model.eval()(next(context.data.batches("val", side=8, batch_size=20))[0])


def test_everything_has_the_type_and_it_computes_in_it(trained, dtype):
    model, context = trained
    cast = Precision(dtype=dtype).apply(model, context)
    floating = [tensor for tensor in cast.state_dict().values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floating} == {DTYPES[dtype]}
    seen = []
    cast[5].register_forward_hook(lambda module, args, output: seen.append((args[0].dtype, output.dtype)))
    assert outputs(cast, context).dtype == DTYPES[dtype]  # of float32 images
    assert seen == [(DTYPES[dtype], DTYPES[dtype])]
    assert {tensor.dtype for tensor in model.state_dict().values() if tensor.is_floating_point()} == {torch.float32}


def test_accuracy_stays_and_the_file_is_half_as_long(trained, dtype):
    model, context = trained
    cast = Precision(dtype=dtype).apply(model, context)
    assert context.evaluate(cast) == pytest.approx(context.evaluate(model), abs=0.02)
    one, other = (encode(network, coder="none") for network in (model, cast))
    n_floats = sum(tensor.numel() for tensor in model.state_dict().values() if tensor.is_floating_point())
    assert len(one) - len(other) == pytest.approx(2 * n_floats, abs=30)


def test_what_comes_back_from_file_copy_and_store_computes_the_same_bits(trained, toy_network, tmp_path, dtype):
    model, context = trained
    cast = Precision(dtype=dtype).apply(model, context)
    for stages in (
        [Precision(dtype=dtype)],
        [Prune(ratio=0.5), Quantize(bits=4), QuantizeInputs(bits=6), Precision(dtype=dtype)],
        [Precision(dtype=dtype), Quantize(bits=4, range="mse"), QuantizeInputs(bits=3)],
    ):
        cast = model
        for stage in stages:
            cast = stage.apply(cast, context)
        expected = outputs(cast, context)
        blob = encode(cast)
        for other in (toy_network(seed=1), cast):
            restored = decode(blob, other)
            assert torch.equal(outputs(restored, context), expected)
            assert input_dtype(restored) == DTYPES[dtype]
        assert torch.equal(outputs(copy.deepcopy(cast), context), expected)
        assert torch.equal(outputs(bake(cast), context), expected)
        store = Store(tmp_path / str(len(stages)))
        store.put_model("key", cast)
        kept = store.get_model("key", toy_network(seed=2))
        assert torch.equal(outputs(kept, context), expected)
        assert describe(kept) == describe(cast)


def test_quantised_weights_are_still_stored_as_codes(trained, dtype):
    model, context = trained
    quantized = Quantize(bits=2).apply(model, context)
    assert len(encode(Precision(dtype=dtype).apply(quantized, context))) < len(encode(quantized))


@pytest.mark.extended
def test_it_can_be_measured(trained, dtype):
    model, context = trained
    cast = Precision(dtype=dtype).apply(QuantizeInputs(bits=8).apply(model, context), context)
    cost, reference = count_cost(cast, (1, 8, 8)), count_cost(model, (1, 8, 8))
    assert (cost.macs, cost.params, cost.unknown) == (reference.macs, reference.params, ())
    assert (measure_latency(cast, (1, 8, 8), seconds=0.01)["latency_ms"] > 0).all()


def test_a_cast_comes_before_a_grid_whichever_was_first(dtype):
    for first_grid in (True, False):
        layer = nn.Linear(4, 4)  # a network of one layer has both on one module
        grid = InputGrid.between(-1.0, 3.0, bits=4)
        for constraint in (grid, InputCast(dtype=dtype)) if first_grid else (InputCast(dtype=dtype), grid):
            set_input(layer, constraint)
        assert [*layer._forward_pre_hooks.values()] == [InputCast(dtype=dtype), grid]
        restored = decode(encode(layer), nn.Linear(4, 4))
        values = torch.randn(3, 4)
        assert torch.equal(restored(values), layer(values))


def test_a_network_that_is_cast_can_be_finetuned(trained, dtype):
    model, context = trained
    tuned = Train(epochs=1, lr=1e-3).apply(Precision(dtype=dtype).apply(model, context), context)
    assert input_dtype(tuned) == DTYPES[dtype]
    assert context.evaluate(tuned) > context.evaluate(model) - 0.05


def test_values_that_do_not_fit_are_named(trained, dtype):
    model, context = copy.deepcopy(trained[0]), trained[1]
    with torch.no_grad():
        model[5].bias[0] = 1e6
    if dtype == "bfloat16":
        assert Precision(dtype=dtype).apply(model, context)[5].bias[0].item() == pytest.approx(1e6, rel=0.01)
    else:
        with pytest.raises(ValueError, match=r"dtype=float16: must be bfloat16 here, as values of 5\.bias are"):
            Precision(dtype=dtype).apply(model, context)


def test_other_types_are_refused(dtype):
    with pytest.raises(ValueError, match="dtype=int8: must be bfloat16 or float16"):
        Precision(dtype="int8")


class MadeWithin(nn.Module):
    """A network that makes a tensor of a type of its own in its forward pass."""

    def __init__(self):
        super().__init__()
        self.f = nn.Linear(64, 4)

    def forward(self, images):
        return self.f(torch.ones(len(images), 64))


def test_a_network_that_does_not_run_in_it_is_refused_in_a_line(toy_data, make_context, dtype):
    with pytest.raises(
        ValueError, match=rf"^dtype={dtype}: MadeWithin does not run in it on cpu: .*RuntimeError"
    ) as refusal:
        Precision(dtype=dtype).apply(MadeWithin(), make_context(toy_data))
    assert "\n" not in str(refusal.value)


def test_a_scripted_network_is_refused(toy_data, make_context, toy_network, dtype):
    with pytest.warns(FutureWarning):
        scripted = torch.jit.script(toy_network())
    with pytest.raises(ValueError, match="is scripted, and its weights can't be changed"):
        Precision(dtype=dtype).apply(scripted, make_context(toy_data))


def test_a_state_that_is_no_tensor_is_left_to_the_file(toy_data, make_context, dtype):
    class Noted(nn.Flatten):
        def get_extra_state(self):
            return {"a": 1}

    cast = Precision(dtype=dtype).apply(nn.Sequential(Noted(), nn.Linear(64, 4)), make_context(toy_data))
    assert cast[1].weight.dtype == DTYPES[dtype]


class Counting(nn.Linear):
    """A layer that counts its calls."""

    def __init__(self):
        super().__init__(64, 4)
        self.register_buffer("n_calls", torch.zeros((), dtype=torch.int64))

    def forward(self, values):
        self.n_calls += 1
        return super().forward(values)


def test_no_state_moves(toy_data, make_context, dtype):
    model = nn.Sequential(nn.Flatten(), Counting())
    assert Precision(dtype=dtype).apply(model, make_context(toy_data))[1].n_calls == model[1].n_calls == 0
