import copy
import math

import pytest
import torch
from torch import nn

from effbench import models
from effbench.codec import decode, encode
from effbench.compression.constraints.stack import bake
from effbench.compression.structure.channels import remove_channels
from effbench.compression.structure.edits import edits_of
from effbench.compression.structure.shuffle import Shuffle
from effbench.measure.compute import count_cost
from effbench.run.store import Store
from effbench.stages.low_rank import LowRank
from effbench.stages.prune import Prune
from effbench.stages.prune_channels import PruneChannels
from effbench.stages.prune_channels import _set_gradients as set_gradients
from effbench.stages.train import Train

CRITERIA = ("l1", "l2", "batch_norm", "taylor", "random")


def seeded(build, seed=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(**options).eval()


def small_cnn(seed=0, **options):
    return seeded(models.small_cnn, seed, num_classes=4, input_side=8, channels=(8, 16, 12), **options)


def widths(model):
    return [m.out_channels if isinstance(m, nn.Conv2d) else m.out_features for m in model.modules() if is_layer(m)]


def is_layer(module):
    return isinstance(module, nn.Conv2d | nn.Linear)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_each_layer_loses_its_share_and_the_classes_stay(toy_data, make_context, criterion, ratio):
    pruned = PruneChannels(ratio=ratio, criterion=criterion).apply(small_cnn(), make_context(toy_data))
    expected = [max(1, n - math.floor(ratio * n + 0.5)) for n in (8, 16, 12)]
    assert widths(pruned) == [*expected, 4]


def test_multiply_adds_and_parameters_are_those_of_the_narrow_network(toy_data, make_context):
    pruned = PruneChannels(ratio=0.5).apply(small_cnn(), make_context(toy_data))
    narrow = seeded(models.small_cnn, num_classes=4, input_side=8, channels=(4, 8, 6))
    one, other = (count_cost(model, (1, 8, 8)) for model in (pruned, narrow))
    assert (one.macs, one.macs_effective, one.params) == (other.macs, other.macs_effective, other.params)
    # Poolings after layers 1 and 2: 9·1·4 at side 8, 9·4·8 at 4, 9·8·6 at 2; then 6 · 4.
    assert one.macs == 64 * 36 + 16 * 288 + 4 * 432 + 24
    assert len(encode(pruned)) < 0.6 * len(encode(small_cnn()))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_share_of_nothing_changes_nothing(toy_data, make_context, criterion):
    model, images = small_cnn(), torch.randn(3, 1, 8, 8)
    same = PruneChannels(ratio=0.0, criterion=criterion).apply(model, make_context(toy_data))
    assert edits_of(same) == {}
    assert torch.equal(same(images), model(images))


def test_globally_the_share_is_of_all_layers_and_none_vanishes(toy_data, make_context):
    model = small_cnn()
    with torch.no_grad():
        model.features.conv2.weight[:13] *= 1e-3
        model.features.norm2.weight[:13] *= 1e-3
    pruned = PruneChannels(ratio=0.5, scope="global").apply(model, make_context(toy_data))
    assert sum(widths(pruned)[:3]) == 18
    assert widths(pruned)[1] < 8
    nearly_all = PruneChannels(ratio=0.99, scope="global").apply(model, make_context(toy_data))
    assert widths(nearly_all) == [1, 1, 1, 4]


@pytest.mark.parametrize("criterion", ["l1", "l2", "batch_norm", "taylor"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_channels_that_do_nothing_go_first_and_are_not_missed(toy_data, make_context, criterion, scope):
    model = small_cnn()
    with torch.no_grad():
        for n, layer in (8, "1"), (16, "2"), (12, "3"):
            dead = torch.arange(n) % 2 == 0
            getattr(model.features, f"norm{layer}").weight[dead] = 0
            getattr(model.features, f"norm{layer}").bias[dead] = 0
            getattr(model.features, f"conv{layer}").weight[dead] = 0
    pruned = PruneChannels(ratio=0.5, criterion=criterion, scope=scope).apply(model, make_context(toy_data))
    images = torch.randn(5, 1, 8, 8)
    assert widths(pruned) == [4, 8, 6, 4]
    assert torch.allclose(pruned(images), model(images), atol=1e-6)


def torchvision_network(name):
    return lambda **options: models.torchvision_model(name=name, input_side=32, **options)


NETWORKS = {
    "lenet_300_100": (models.lenet_300_100, 1, 28),
    "lenet_5": (models.lenet_5, 1, 28),
    "small_cnn, flat": (lambda **options: models.small_cnn(head="flatten", **options), 1, 28),
    "mobilenet_v1": (lambda **options: models.mobilenet_v1(alpha=0.25, **options), 3, 32),
    "mobilenet_v2": (torchvision_network("mobilenet_v2"), 3, 32),
    "resnet18": (torchvision_network("resnet18"), 3, 32),
    "shufflenet_v1": (models.shufflenet_v1, 3, 32),
    "shufflenet_v1, 8 groups": (lambda **options: models.shufflenet_v1(groups=8, **options), 3, 32),
    "shufflenet_v1, not shuffled": (lambda **options: models.shufflenet_v1(shuffle=False, **options), 3, 32),
    "shufflenet_v2": (torchvision_network("shufflenet_v2_x1_0"), 3, 32),
}
# Where everything shrinks, a half of channels are a quarter of the weights. The outer channels of ShuffleNets stay, and
# with eight groups a shuffle leaves few numbers of channels to choose from.
MOST_MACS = {"shufflenet_v1": 0.57, "shufflenet_v1, 8 groups": 0.62, "shufflenet_v1, not shuffled": 0.57}


def spread_statistics(model):
    """Let no channel be like another, as after training."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 2, generator=generator)
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(0, 0.1, generator=generator)
    return model


def every_other_set(channels):
    """Return half of the channels: of those that can go alone every other one, else the first sets."""
    sets = channels.removals(torch.arange(channels.n, dtype=torch.float32))
    if channels.shuffle is None:
        return torch.cat(sets[::2]) if sets else torch.zeros(0, dtype=torch.int64)
    totals = [sum(map(len, sets[:k])) for k in range(len(sets) + 1)]
    return torch.cat(sets[: min(range(len(totals)), key=lambda k: abs(totals[k] - channels.n / 2))])


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks_shrink_compute_what_the_silenced_ones_do(name):
    build, channels, side = NETWORKS[name]
    model = spread_statistics(seeded(build, num_classes=7, in_channels=channels))
    images = torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(0))
    pruned = copy.deepcopy(model)
    # An error is raised unless the outputs are those of silenced channels.
    remove_channels(pruned, images, lambda found: [every_other_set(one) for one in found])
    before, after = (count_cost(one, (channels, side, side)) for one in (model, pruned))
    assert after.macs < MOST_MACS.get(name, 0.6 if name == "shufflenet_v2" else 0.51) * before.macs
    assert after.params < 0.7 * before.params
    assert len(encode(pruned, coder="none")) < 0.7 * len(encode(model, coder="none"))


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(("criterion", "scope"), [*((one, "layer") for one in CRITERIA), ("l1", "global")])
def test_shufflenet_loses_channels_between_its_grouped_convolutions(toy_data, make_context, criterion, scope):
    model = spread_statistics(seeded(models.shufflenet_v1, scale=0.5, num_classes=4, in_channels=1))
    pruned = PruneChannels(ratio=0.5, criterion=criterion, scope=scope).apply(model, make_context(toy_data))
    units = [(name, unit) for name, unit in pruned.named_modules() if type(unit).__name__ == "Unit"]
    for name, unit in units:
        n = unit.squeeze.conv.out_channels
        assert n == unit.depthwise.conv.groups == unit.expand.conv.in_channels
        assert n % 3 == 0
        assert unit.expand.conv.out_channels == model.get_submodule(name).expand.conv.out_channels
        if scope == "layer":
            assert n / model.get_submodule(name).squeeze.conv.out_channels == pytest.approx(0.5, abs=0.1)
    kept, before = (sum(u.squeeze.conv.out_channels for u in one.modules() if type(u).__name__ == "Unit")
                    for one in (pruned, model))  # fmt: skip
    assert kept / before == pytest.approx(0.5, abs=0.06)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("criterion", "told_by"),
    [("l1", "squeeze"), ("l1", "norm"), ("l1", "expand"), ("batch_norm", "norm"), ("taylor", "expand")],
)
def test_channels_that_do_nothing_go_first_through_a_shuffle(toy_data, make_context, criterion, told_by):
    # Seen in one layer alone: before the shuffle, after it, or in what reads them in groups.
    model = spread_statistics(seeded(models.shufflenet_v1, scale=0.25, num_classes=4, in_channels=1))
    context = make_context(toy_data)
    same = Shuffle(n=30, groups=3, before=3, after=3)
    dead = torch.cat(same.removals(torch.rand(30, generator=torch.Generator().manual_seed(1)))[:4])
    unit = model.features.stage3.unit2
    with torch.no_grad():
        for layer in (unit.squeeze, unit.depthwise, unit.expand) if criterion != "taylor" else ():
            layer.conv.weight.copy_(0.05 * layer.conv.weight.sign())
            layer.norm.weight.fill_(1)
        if told_by == "squeeze":
            unit.squeeze.conv.weight[dead] = 0
        elif told_by == "norm":
            unit.depthwise.norm.weight[same.places[dead]] = 0
        else:
            for place in same.places[dead].tolist():
                unit.expand.conv.weight.chunk(3)[place // 10][:, place % 10] = 0
    found = {}
    stage = PruneChannels(ratio=len(dead) / 30, criterion=criterion)

    def choose(channels):
        chosen = stage._choose(channels, stage._score(context))
        found.update({one.layer: going for one, going in zip(channels, chosen, strict=True)})
        return [torch.zeros(0, dtype=torch.int64) for _ in channels]

    trial = copy.deepcopy(model)
    if criterion == "taylor":
        set_gradients(trial, context)
    remove_channels(trial, torch.randn(2, 1, 8, 8), choose)
    (going,) = (going for layer, going in found.items() if layer.startswith("features.stage3.unit2."))
    assert sorted(going.tolist()) == sorted(dead.tolist())


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "shufflenet_v1", "shufflenet_v2"])
def test_real_networks_come_back_from_file_and_store(name, toy_data, make_context, tmp_path):
    build, _, _ = NETWORKS[name]
    model = seeded(build, num_classes=4, in_channels=1)
    pruned = PruneChannels(ratio=0.5).apply(model, make_context(toy_data, side=32)).eval()
    images = torch.randn(2, 1, 32, 32)
    store = Store(tmp_path)
    store.put_model("key", pruned)
    for back in (
        decode(encode(pruned), seeded(build, 1, num_classes=4, in_channels=1)).eval(),
        store.get_model("key", seeded(build, 2, num_classes=4, in_channels=1)),
    ):
        with torch.no_grad():
            assert torch.equal(back(images), pruned(images))
        assert edits_of(back) == edits_of(pruned) != {}


class NamesItsWidth(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 6, 3, padding=1), nn.Linear(6 * 64, 4)

    def forward(self, images):
        return self.head(self.conv(images).view(len(images), 6 * 64))


class MixesUnseen(nn.Module):
    """Moves the channels on by a written number of places."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 6, 3, padding=1), nn.Linear(6 * 64, 4)

    def forward(self, images):
        return self.head(self.conv(images).roll(2, 1).flatten(1))


class RawParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.scale = nn.Conv2d(1, 6, 3, padding=1), nn.Parameter(torch.ones(1, 6, 1, 1))
        self.head = nn.Linear(6 * 64, 4)

    def forward(self, images):
        return self.head((self.conv(images) * self.scale).flatten(1))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NamesItsWidth, "names the number of channels it was written for"),
        (MixesUnseen, "conv: roll reorders or selects them"),
        (RawParameter, "conv: mul meets them with values of a fixed number"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), "none can be removed"),
    ],
)
def test_a_network_that_cannot_lose_channels_is_named(toy_data, make_context, kind, message):
    model = seeded(kind)
    with pytest.raises(ValueError, match=message) as refusal:
        PruneChannels(ratio=0.5).apply(model, make_context(toy_data))
    assert f"{type(model).__name__} can't lose channels" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_criterion_that_says_nothing_of_a_network_is_an_error(toy_data, make_context):
    model = seeded(models.lenet_300_100, num_classes=4, input_side=8)
    with pytest.raises(ValueError, match="criterion=batch_norm says nothing of them; criterion=l1"):
        PruneChannels(ratio=0.5, criterion="batch_norm").apply(model, make_context(toy_data))


def test_masks_become_values_and_inner_ranks_stay(toy_data, make_context):
    context = make_context(toy_data)
    masked = Prune(ratio=0.6).apply(small_cnn(), context)
    pruned = PruneChannels(ratio=0.25).apply(masked, context)
    assert set(pruned.state_dict()) == set(bake(masked).state_dict())
    assert any((parameter == 0).any() for parameter in pruned.parameters())
    factored = LowRank(rank=0.5).apply(small_cnn(), context)
    ranks = [edit.widths[1:-1] for edit in edits_of(factored).values()]
    both = PruneChannels(ratio=0.25).apply(factored, context)
    assert ranks and [e.widths[1:-1] for e in edits_of(both).values() if e.kind > 1] == ranks


def test_modes_and_frozen_parameters_stay(toy_data, make_context):
    model = small_cnn().train()
    model.features.norm2.eval()
    model.features.conv1.requires_grad_(False)
    pruned = PruneChannels(ratio=0.5, criterion="taylor").apply(model, make_context(toy_data))
    assert [m.training for m in pruned.modules()] == [m.training for m in model.modules()]
    assert [p.requires_grad for p in pruned.parameters()] == [p.requires_grad for p in model.parameters()]
    assert all(p.grad is None for p in pruned.parameters())


def test_rounds_together_remove_the_share(toy_data, make_context):
    model = seeded(models.small_cnn, num_classes=4, input_side=8, channels=(64, 64))
    for position in (1, 2):
        model = PruneChannels(ratio=0.75).at_round(position, 2).apply(model, make_context(toy_data))
    assert widths(model) == [16, 16, 4]


def test_where_each_layer_is_down_to_one_channel_nothing_more_goes(toy_data, make_context):
    one_each = PruneChannels(ratio=0.99).apply(small_cnn(), make_context(toy_data))
    for scope in ("layer", "global"):
        again = PruneChannels(ratio=0.5, scope=scope).apply(one_each, make_context(toy_data))
        assert widths(again) == widths(one_each) == [1, 1, 1, 4]
        assert edits_of(again) == edits_of(one_each)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"ratio": 1.0}, "ratio=1.0"), ({"ratio": 0.5, "criterion": "l3"}, "criterion=l3"),
     ({"ratio": 0.5, "scope": "all"}, "scope=all")],
)  # fmt: skip
def test_what_is_no_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PruneChannels(**options)


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_smallest_channels_are_missed_least_after_equal_finetuning(digits_data, make_context, seed):
    # Seen at ratio 0.5: 0.925 to 0.929 by l1, 0.902 to 0.914 at random, 0.93 before. In small_cnn, which has no neurons
    # to spare, finetuning makes up for any choice: there l1 does not beat random (0.91 ± 0.02 and 0.94 ± 0.01 on test).
    context = make_context(digits_data, seed=seed)
    trained = Train(epochs=5, lr=3e-3).apply(seeded(models.lenet_300_100, seed), context)
    accuracy = {}
    for criterion in ("l1", "random"):
        pruned = PruneChannels(ratio=0.5, criterion=criterion).apply(trained, context)
        accuracy[criterion] = context.evaluate(Train(epochs=1, lr=5e-4).apply(pruned, context))
    assert accuracy["l1"] > accuracy["random"] + 0.005


class Scaled(nn.Module):
    """Its first layer's channels meet a bare parameter, and stay; the halves of the second one's are a gate."""

    def __init__(self):
        super().__init__()
        self.conv, self.scale = nn.Conv2d(1, 6, 3, padding=1), nn.Parameter(torch.ones(1, 6, 1, 1))
        self.gated, self.last, self.head = nn.Conv2d(6, 16, 1), nn.Conv2d(8, 4, 1), nn.Linear(4, 4)

    def forward(self, images):
        gate, value = self.gated(self.conv(images) * self.scale).chunk(2, 1)
        return self.head(self.last(gate.sigmoid() * value).mean((2, 3)))


@pytest.mark.parametrize("criterion", ["l1", "l2", "taylor", "random"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_run_says_what_was_taken_and_what_stays_whole(toy_data, make_context, criterion, scope):
    context = make_context(toy_data)
    pruned = PruneChannels(ratio=0.25, criterion=criterion, scope=scope).apply(seeded(Scaled), context)
    assert pruned.conv.out_channels == 6
    assert pruned.gated.out_channels == 2 * pruned.last.in_channels
    assert 16 - pruned.gated.out_channels + 2 * (4 - pruned.last.out_channels) == pytest.approx(0.25 * 24, abs=2)
    assert context.findings.metrics["removed_share/stage"] == pytest.approx(0.25, abs=0.01)
    # 9 · 6 weights of the first layer, of 54 + 96 + 32 + 16 in all.
    assert context.findings.metrics["acted_share/stage"] == pytest.approx(1 - 54 / 198)
    (row,) = context.findings.tables["kept_whole"]
    assert row["layer"] == "conv" and "mul meets them" in row["reason"]
    assert context.findings.words["left/stage"].split(", ")[0] == "conv"


def test_a_network_that_is_followed_throughout_keeps_nothing_whole(toy_data, make_context):
    context = make_context(toy_data)
    PruneChannels(ratio=0.5).apply(small_cnn(), context)
    assert context.findings.metrics == {"removed_share/stage": 0.5}
    assert not context.findings.tables


def test_a_share_that_groups_do_not_allow_is_told(toy_data, make_context):
    class Grouped(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1, groups=12)
            self.f = nn.Linear(24, 4)

        def forward(self, x):
            return self.f(self.b(self.a(x)).mean((2, 3)))

    context = make_context(toy_data)
    PruneChannels(ratio=0.2).apply(seeded(Grouped), context)
    taken = context.findings.metrics["removed_share/stage"]
    assert abs(taken - 0.2) * 48 > 2
    assert context.findings.words["removed/stage"] == f"{100 * taken:.0f} % of the channels that can go"


@pytest.mark.parametrize("criterion", ["l1", "taylor"])
def test_gates_that_do_nothing_go_first(toy_data, make_context, criterion):
    model = seeded(Scaled)
    with torch.no_grad():
        for dead in (1, 5):
            for layer in (model.gated.weight, model.gated.bias):
                layer[[dead, dead + 8]] = 0
            model.last.weight[:, dead] = 0
    expected = copy.deepcopy(model)
    stage = PruneChannels(ratio=0.25, criterion=criterion, layers={"last": "skip"})
    pruned = stage.apply(model, make_context(toy_data))
    assert (pruned.gated.out_channels, pruned.last.in_channels, pruned.last.out_channels) == (12, 6, 4)
    images = torch.randn(3, 1, 8, 8)
    assert torch.allclose(pruned(images), expected(images), atol=1e-6)


def test_what_lost_channels_comes_back_from_its_file(toy_data, make_context):
    pruned = PruneChannels(ratio=0.25).apply(seeded(Scaled), make_context(toy_data)).eval()
    back = decode(encode(pruned), seeded(Scaled, 1)).eval()
    images = torch.randn(3, 1, 8, 8)
    assert torch.equal(back(images), pruned(images))
    assert edits_of(back) == edits_of(pruned) != {}


@pytest.mark.parametrize("criterion", CRITERIA)
def test_grouped_transposed_convolutions_lose_channels(toy_data, make_context, criterion):
    def build():
        return nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 16, 2, 2, groups=4), nn.BatchNorm2d(16),
            nn.ReLU(), nn.ConvTranspose2d(16, 8, 2, groups=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3),
            nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip

    pruned = PruneChannels(ratio=0.5, criterion=criterion).apply(seeded(build), make_context(toy_data))
    assert [layer.out_channels for layer in pruned if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)] == [4, 8, 4, 4]
    images = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(decode(encode(pruned), seeded(build, 1)).eval()(images), pruned.eval()(images))


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
def test_the_share_acted_on_is_that_of_the_weights_in_use(toy_data, make_context):
    network = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4)))
    torch.nn.utils.prune.l1_unstructured(network[1], "weight", 0.5)
    torch.nn.utils.weight_norm(network[3])
    context = make_context(toy_data)
    pruned = PruneChannels(ratio=0.25).apply(network, context)
    assert pruned[1].out_features == 12
    assert "acted_share/stage" not in context.findings.metrics


def test_a_parameter_of_integers_is_no_obstacle(toy_data, make_context):
    network = small_cnn()
    network.steps = nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)
    for criterion in ("l1", "taylor"):
        pruned = PruneChannels(ratio=0.5, criterion=criterion).apply(network, make_context(toy_data))
        assert widths(pruned) == [4, 8, 6, 4]
