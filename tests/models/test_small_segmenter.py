import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.measure.compute import count_cost
from effbench.models import small_segmenter

OUT_RHOS = [1.0, 0.75, 0.5, 0.4, 0.25, 0.125, 0.05]


def seeded(**options):
    """Return a network whose batch norms have seen images: untrained ones let little through."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = small_segmenter(**options)
        side = options.get("input_side", 64)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            model.train()(torch.randn(8, 1, side, side))
        return model.eval()


def run_on(model, side=64, n=2):
    """Return the outputs for n random images and, in their order, the sides at which convolutions run."""
    sides = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, outputs: sides.append(outputs.shape[-1]))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        outputs = model(torch.randn(n, 1, side, side, generator=torch.Generator().manual_seed(0)))
    for hook in hooks:
        hook.remove()
    return outputs, sides


def test_default_network_goes_down_three_times_and_comes_back():
    outputs, sides = run_on(small_segmenter().eval())
    assert outputs.shape == (2, 11, 64, 64)
    assert sides == [64, 64, 32, 32, 16, 16, 8, 16, 32, 64]


def test_macs_of_the_default_by_hand():
    encoder = 64**2 * (8 + 8 * 8) + 32**2 * (8 * 16 + 16 * 16) + 16**2 * (16 * 32 + 32 * 32) + 8**2 * 32 * 64
    decoder = 16**2 * (64 + 32) * 32 + 32**2 * (32 + 16) * 16 + 64**2 * (16 + 8) * 11
    cost = count_cost(small_segmenter(), (1, 64, 64))
    assert cost.macs == 9 * (encoder + decoder)
    assert cost.unknown == ()


class TestOutputResolution:
    def test_macs_fall_with_it(self):
        costs = [count_cost(small_segmenter(out_rho=out_rho), (1, 64, 64)) for out_rho in OUT_RHOS]
        macs = [cost.macs for cost in costs]
        assert macs == sorted(macs, reverse=True)
        assert len(set(macs)) == len(macs)
        assert all(cost.unknown == () for cost in costs)

    def test_parameters_fall_where_the_decoder_ends_earlier(self):
        params = [count_cost(small_segmenter(out_rho=out_rho), (1, 64, 64)).params for out_rho in (1, 0.75, 0.5, 0.25)]
        assert params[0] == params[1] > params[2] > params[3]

    @pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
    @pytest.mark.parametrize("out_rho", OUT_RHOS)
    def test_classes_are_predicted_at_its_side(self, out_rho, upsample):
        outputs, sides = run_on(seeded(out_rho=out_rho, upsample=upsample))
        assert sides[-1] == int(out_rho * 64 + 0.5)
        assert max(sides[7:]) == sides[-1]
        assert outputs.shape == (2, 11, 64, 64)

    def test_nearest_repeats_what_is_predicted(self):
        outputs, _ = run_on(seeded(out_rho=0.25, upsample="nearest"))
        blocks = outputs.unflatten(3, (16, 4)).unflatten(2, (16, 4))
        assert torch.equal(blocks, blocks[:, :, :, :1, :, :1].expand_as(blocks))
        smooth, _ = run_on(seeded(out_rho=0.25, upsample="bilinear"))
        assert torch.allclose(smooth.mean((2, 3)), outputs.mean((2, 3)), atol=0.05)
        assert (smooth - outputs).abs().mean() > 0.05

    def test_at_full_resolution_the_way_up_changes_nothing(self):
        assert torch.equal(run_on(seeded(upsample="nearest"))[0], run_on(seeded(upsample="bilinear"))[0])

    def test_halves_are_rounded_up(self):
        _, sides = run_on(seeded(out_rho=0.5, input_side=33), side=33)
        assert sides[-1] == 17


class TestPooling:
    def test_early_is_cheaper_than_late(self):
        macs = [count_cost(small_segmenter(pooling=where), (1, 64, 64)).macs for where in ("early", "even", "late")]
        assert macs[0] < macs[1] < macs[2]

    @pytest.mark.parametrize(("pooling", "n_levels"), [("1-3", 2), ([2, 3, 4, 5], 4), (6, 1), ("late", 3)])
    def test_layers_decide_the_levels(self, pooling, n_levels):
        model = small_segmenter(pooling=pooling)
        assert len(model.encoder) == len(model.joins) == n_levels
        assert run_on(model.eval())[0].shape == (2, 11, 64, 64)


@pytest.mark.extended
@given(
    st.integers(8, 40),
    st.floats(0.07, 1),
    st.sampled_from(["early", "even", "late", "2-5", "1"]),
    st.sampled_from([0.25, 1, 1.5]),
)
def test_any_side_comes_back(side, out_rho, pooling, alpha):
    with torch.device("meta"):
        model = small_segmenter(input_side=side, out_rho=out_rho, pooling=pooling, alpha=alpha, num_classes=3)
        assert model(torch.empty(2, 1, side, side)).shape == (2, 3, side, side)


def test_other_sides_than_it_was_built_for_give_maps_of_their_own():
    assert run_on(seeded(), side=48)[0].shape == (2, 11, 48, 48)
    assert run_on(seeded(out_rho=0.5), side=48)[0].shape == (2, 11, 64, 64)


def test_alpha_scales_every_layer_but_the_classes():
    widths = [
        [module.out_channels for module in small_segmenter(alpha=alpha).modules() if isinstance(module, nn.Conv2d)]
        for alpha in (1, 0.5)
    ]
    assert widths[0] == [8, 8, 16, 16, 32, 32, 64, 32, 16, 11]
    assert widths[1] == [4, 4, 8, 8, 16, 16, 32, 16, 8, 11]


def test_the_finest_map_reaches_the_output():
    # A pixel's logits follow that pixel: what the poolings lose comes by the joins.
    model = seeded()
    images = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gradient = torch.autograd.grad(model(images)[0, :, 32, 32].square().sum(), images)[0][0, 0].abs()
    assert gradient[32, 32] > 0
    assert gradient[30:35, 30:35].mean() > 2 * gradient.mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "alpha must be a finite number above 0"),
        ({"out_rho": 0}, "out_rho must be above 0 and at most 1 .*, got 0"),
        ({"out_rho": 1.5}, "got 1.5"),
        ({"out_rho": float("nan")}, "got nan"),
        ({"out_rho": True}, "got True"),
        ({"out_rho": 0.005}, "out_rho=0.005 of input_side 64 leaves no pixel; give at least 0.0156"),
        ({"upsample": "bicubic"}, "upsample must be nearest or bilinear, got 'bicubic'"),
        ({"pooling": "middle"}, "early, even, late or ascending layer numbers from 1 to 7"),
        ({"n_poolings": 0}, "n_poolings must be an integer of at least 1, got 0"),
        ({"n_poolings": 8}, "n_poolings must be an integer from 0 to 7"),
        ({"input_side": 7}, "pooling after layer 6 would leave nothing: at input_side 7"),
        ({"num_classes": 0}, "num_classes must be an integer of at least 1"),
        ({"channels": ()}, "channels must have at least one layer"),
        ({"channels": (8, 0)}, "channels must be an integer of at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small_segmenter(**options)
