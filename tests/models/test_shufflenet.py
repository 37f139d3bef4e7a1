import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from effbench.measure.compute import count_cost
from effbench.models import shufflenet_v1
from effbench.models.shufflenet import STAGE_2_CHANNELS, Unit, rounded_width


def on_meta(**options):
    with torch.device("meta"):
        return shufflenet_v1(**options)


def seeded(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return shufflenet_v1(**{"num_classes": 10, **options}).eval()


@pytest.mark.extended
def test_counts_of_the_paper():
    model = on_meta()
    cost = count_cost(model, (3, 224, 224))
    assert (cost.params, cost.macs, cost.unknown) == (1_865_728, 137_460_672, ())
    assert cost.macs - model.classifier.weight.numel() == 136_500_672


# Table 1, in millions of multiply-adds without the classifier, at 224 × 224. 1×: as printed; 0.5×: table 2.
@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("groups", "scale", "millions"), [(1, 1, 143), (2, 1, 140), (3, 1, 137), (4, 1, 133), (8, 1, 137), (1, 0.5, 38)]
)
def test_complexities_of_the_tables(groups, scale, millions):
    model = on_meta(groups=groups, scale=scale)
    macs = count_cost(model, (3, 224, 224)).macs - model.classifier.weight.numel()
    assert round(macs / 1e6) == pytest.approx(millions, abs=0)


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(("groups", "channels"), [(1, 144), (2, 200), (3, 240), (4, 272), (8, 384)])
def test_widths_and_sides_of_table_1(groups, channels):
    model, images = on_meta(groups=groups), torch.empty(1, 3, 224, 224, device="meta")
    shapes = {}
    for name, layer in model.features.named_children():
        images = layer(images)
        shapes[name] = tuple(images.shape[1:])
    assert shapes == {
        "stem": (24, 112, 112),
        "pool": (24, 56, 56),
        "stage2": (channels, 28, 28),
        "stage3": (2 * channels, 14, 14),
        "stage4": (4 * channels, 7, 7),
    }


def test_only_the_first_pointwise_convolution_of_stage_2_is_not_grouped():
    model = on_meta(groups=3)
    pointwise = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert [m.groups for m in pointwise] == [1, *[3] * 31]
    units = [m for m in model.modules() if isinstance(m, Unit)]
    assert [len(stage) for stage in (model.features.stage2, model.features.stage3, model.features.stage4)] == [4, 8, 4]
    assert all(unit.squeeze.conv.out_channels == unit.depthwise.conv.groups for unit in units)
    assert units[0].squeeze.conv.out_channels == 60


def counted_by_hand(groups, scale, side=224):
    """Return parameters and multiply-adds of 1000 classes from table 1 and figure 2, without the network."""
    nearest = lambda n, multiple: multiple * max(1, int(n / multiple + 0.5))  # noqa: E731
    width, channels = nearest(24 * scale, groups), nearest(STAGE_2_CHANNELS[groups] * scale, 4 * groups)
    params, macs, side = 27 * width + 2 * width, 27 * width * (side // 2) ** 2, side // 4
    for stage, n_units in enumerate((4, 8, 4), start=2):
        for unit in range(n_units):
            n_in, n_branch = (width, channels - width) if unit == 0 else (channels, channels)
            squeeze = n_in * (channels // 4) // (1 if (stage, unit) == (2, 0) else groups)
            depthwise, expand = 9 * (channels // 4), (channels // 4) * n_branch // groups
            params += squeeze + depthwise + expand + 4 * (channels // 4) + 2 * n_branch
            macs += squeeze * side**2
            side = side // 2 if unit == 0 else side
            macs += (depthwise + expand) * side**2
        width, channels = channels, 2 * channels
    return params + 1000 * width + 1000, macs + 1000 * width


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("groups", STAGE_2_CHANNELS)
@pytest.mark.parametrize("scale", [0.25, 0.5, 1, 1.5, 2])
def test_exact_counts_of_all_groups_and_scales(groups, scale):
    cost = count_cost(on_meta(groups=groups, scale=scale), (3, 224, 224))
    assert (cost.params, cost.macs, cost.unknown) == (*counted_by_hand(groups, scale), ())
    assert (groups, scale) != (3, 1) or cost.params == 1_865_728


@pytest.mark.extended
def test_without_shortcuts_nothing_is_added_and_no_count_moves():
    with_them, without = (seeded(scale=0.25, shortcut=value) for value in (True, False))
    costs = [count_cost(model, (3, 64, 64)) for model in (with_them, without)]
    assert costs[0] == costs[1]
    assert list(with_them.state_dict()) == list(without.state_dict())
    maps = torch.rand(1, with_them.features.stage2.unit2.squeeze.conv.in_channels, 8, 8)
    added, alone = (model.features.stage2.unit2 for model in (with_them, without))
    assert torch.equal(alone(maps), alone.expand(alone.depthwise(alone.shuffle(alone.squeeze(maps)))).relu())
    assert not torch.equal(added(maps), alone(maps))
    assert [model.features.stage2.unit1.joins for model in (with_them, without)] == ["concatenation"] * 2


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("groups", STAGE_2_CHANNELS)
@pytest.mark.parametrize("scale", [0.25, 0.5, 1, 1.5, 2])
def test_all_groups_and_scales_run_on_a_small_input(groups, scale):
    model = on_meta(groups=groups, scale=scale, num_classes=7, in_channels=1)
    assert model(torch.empty(2, 1, 28, 28, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("side", [1, 8, 17, 28, 33])
def test_any_side_will_do(side):
    assert seeded(scale=0.25)(torch.zeros(2, 3, side, side)).shape == (2, 10)


def test_alpha_multiplies_the_scale():
    shapes = [{n: p.shape for n, p in on_meta(**o).state_dict().items()} for o in ({"alpha": 0.5}, {"scale": 0.5})]
    assert shapes[0] == shapes[1]
    assert "alpha" in inspect.signature(shufflenet_v1).parameters


def reaches(model, unit, images):
    """Return which of the unit's input channels each of its inner outputs depends on, (n_out, n_in) bool."""
    images = images.clone().requires_grad_(True)
    inner = unit.expand(unit.depthwise(unit.shuffle(unit.squeeze(images))))
    rows = [torch.autograd.grad(inner[:, c].sum(), images, retain_graph=True)[0] for c in range(inner.shape[1])]
    return torch.stack([(row != 0).any(dim=(0, 2, 3)) for row in rows])


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(("groups", "shuffle"), [(3, True), (3, False), (4, True), (4, False)])
def test_without_the_shuffle_groups_never_meet(groups, shuffle):
    # Section 3.1, figure 1: with stacked group convolutions, outputs of a group know only the inputs of that group.
    model = seeded(groups=groups, shuffle=shuffle)
    unit = model.features.stage2.unit2
    known = reaches(model, unit, torch.randn(1, unit.squeeze.conv.in_channels, 4, 4))
    blocks = torch.stack([torch.stack([part.any() for part in rows.chunk(groups, 1)]) for rows in known.chunk(groups)])
    assert torch.equal(blocks, torch.ones(groups, groups, dtype=bool) if shuffle else torch.eye(groups, dtype=bool))


@pytest.mark.extended
def test_the_shuffle_has_no_parameters_and_costs_no_multiply_adds():
    shuffled, plain = (seeded(shuffle=shuffle) for shuffle in (True, False))
    assert [p.shape for p in shuffled.parameters()] == [p.shape for p in plain.parameters()]
    plain.load_state_dict(shuffled.state_dict())
    costs = [count_cost(model, (3, 32, 32)).macs for model in (shuffled, plain)]
    assert costs[0] == costs[1]
    images = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(shuffled(images), plain(images))
    assert not any(isinstance(m, nn.ChannelShuffle) for m in plain.modules())


def test_a_shuffle_of_one_group_is_none():
    assert not any(isinstance(module, nn.ChannelShuffle) for module in on_meta(groups=1).modules())


@given(channels=st.floats(0.001, 5000), multiple=st.integers(1, 64))
def test_widths_are_the_nearest_multiple(channels, multiple):
    width = rounded_width(channels, multiple=multiple)
    assert width % multiple == 0 and width >= multiple
    assert abs(width - channels) <= multiple / 2 + 1e-9 or width == multiple


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 5}, "groups must be one of 1, 2, 3, 4, 8, got 5"),
        ({"groups": True}, "groups must be one of"),
        ({"scale": 0}, "scale must be a finite number above 0"),
        ({"alpha": float("nan")}, "alpha must be a finite number above 0"),
        ({"num_classes": 0}, "num_classes must be an integer of at least 1"),
        ({"shuffle": "yes"}, "shuffle must be true or false, got 'yes'"),
        ({"shortcut": 0}, "shortcut must be true or false, got 0"),
        ({"groups": 1, "shuffle": False}, "shuffle=false does nothing with groups=1"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        shufflenet_v1(**options)
