import math

import pytest
import torch
from torch import nn

from effbench import models
from effbench.codec import decode, encode
from effbench.compression.structure.edits import Edit, EditKind, edits_of
from effbench.compression.structure.rewritten import Rewritten
from effbench.measure.compute import count_cost
from effbench.stages.fold_batch_norm import FoldBatchNorm
from effbench.stages.low_rank import LowRank
from effbench.stages.prune_channels import PruneChannels
from effbench.stages.quantize import Quantize
from effbench.stages.replace_convolutions import ReplaceConvolutions
from effbench.stages.train import Train

FORMS = ("separable", "grouped", "shuffle")


def seeded(build, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


def network(norms=True):
    def block(n_in, n_out, **options):
        layer = nn.Conv2d(n_in, n_out, 3, padding=1, bias=not norms, **options)
        return [layer, nn.BatchNorm2d(n_out), nn.ReLU()] if norms else [layer, nn.ReLU()]

    return nn.Sequential(
        *block(1, 8), *block(8, 16, stride=2), *block(16, 16), nn.Flatten(), nn.Linear(16 * 16, 4, bias=False)
    )


def macs_of(model):
    by_layer = count_cost(model, (1, 8, 8)).by_layer
    return dict(zip(by_layer["layer"], by_layer["macs"], strict=True))


@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_multiply_adds_are_those_of_the_formula(form, norms, toy_data, make_context):
    model = seeded(lambda: network(norms))
    before = macs_of(model)
    after = macs_of(ReplaceConvolutions(conv=form).apply(model, make_context(toy_data)))
    for path in ["3", "6"] if norms else ["2", "4"]:
        n_out = model.get_submodule(path).out_channels
        own = sum(macs for layer, macs in after.items() if layer == path or layer.startswith(f"{path}."))
        share = 1 / n_out + 1 / 9 if form == "separable" else 1 / 4
        assert own == round(before[path] * share)
    assert after["0"] == before["0"]


def test_a_batch_norm_stands_inside_where_the_network_has_them(toy_data, make_context):
    for norms in (True, False):
        made = ReplaceConvolutions(conv="separable").apply(seeded(lambda: network(norms)), make_context(toy_data))  # noqa: B023
        chains = [module for module in made.modules() if isinstance(module, Rewritten)]
        assert [hasattr(chain, "norm") for chain in chains] == [norms, norms]
        assert [chain.pointwise.bias is not None for chain in chains] == [not norms, not norms]


def test_a_bias_stays_and_the_weights_are_drawn_by_the_seed_of_the_step(toy_data, make_context):
    model = seeded(lambda: network(norms=False))
    made = {
        (form, seed): ReplaceConvolutions(conv=form).apply(model, make_context(toy_data, seed=seed))
        for form in FORMS
        for seed in (0, 1)
    }
    for form in FORMS:
        one, other = (made[form, seed].state_dict() for seed in (0, 1))
        assert {name for name in one if not torch.equal(one[name], other[name])} == {
            name for name in one if name.startswith(("2.", "4.")) and name.endswith("weight")
        }
        biases = [name for name in one if name.startswith("2.") and name.endswith("bias")]
        assert [one[name].tolist() for name in biases] == [model[2].bias.tolist()]


def crossings(made):
    """Which input channels have a part in which output channels, (out, in), for two convolutions after another."""
    images = torch.randn(1, 8, 8, 8, requires_grad=True, generator=torch.Generator().manual_seed(0))
    outputs = made(images)
    rows = [torch.autograd.grad(outputs[0, n].sum(), images, retain_graph=True)[0] for n in range(outputs.shape[1])]
    return torch.stack([row.abs().sum((0, 2, 3)) > 0 for row in rows])


def test_without_a_shuffle_nothing_crosses_from_one_group_to_another_and_with_it_all_do(make_toy_data, make_context):
    stem = nn.Conv2d(1, 8, 1)
    model = nn.Sequential(stem, nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1))
    context = make_context(make_toy_data())
    apart = crossings(ReplaceConvolutions(conv="grouped", groups=2).apply(model, context)[1:])
    assert torch.equal(apart, torch.block_diag(torch.ones(4, 4), torch.ones(4, 4)) > 0)
    assert crossings(ReplaceConvolutions(conv="shuffle", groups=2).apply(model, context)[1:]).all()


def test_as_many_groups_as_divide_and_as_many_as_channels_are_a_depthwise_convolution(toy_data, make_context):
    model = seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 9, 3), nn.Conv2d(9, 5, 2))
    )
    groups = {}
    for n in (2, 3, 4, 5, 64):
        context = make_context(toy_data)
        made = ReplaceConvolutions(conv="grouped", groups=n).apply(model, context)
        groups[n] = [layer.groups for layer in made]
    assert groups == {2: [1, 2, 1, 1], 3: [1, 3, 3, 1], 4: [1, 3, 3, 1], 5: [1, 3, 3, 1], 64: [1, 6, 3, 1]}
    (row,) = [row for row in context.findings.tables["kept_convolutions"] if row["layer"] == "3"]
    assert row["reason"] == "no number of groups up to 64 divides its 9 and 5 channels"


def test_what_stays_is_said_with_its_share_and_its_reason(toy_data, make_context):
    context = make_context(toy_data, step="replace_convolutions")
    stage = ReplaceConvolutions(conv="separable", layers={"3": "standard", "6": "separable", "0": "skip"})
    made = stage.apply(seeded(network), context)
    assert list(edits_of(made)) == ["6"]
    assert context.findings.metrics["acted_share/replace_convolutions"] == 2304 / (72 + 1152 + 2304 + 1024)
    assert context.findings.words["left/replace_convolutions"] == "0, 3, 10"
    assert not context.findings.tables  # the others were not asked for
    context = make_context(toy_data)
    ReplaceConvolutions(conv="separable").apply(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 1, 3)), context)
    assert context.findings.tables["kept_convolutions"] == [
        {"layer": "0", "reason": "it reads the network's input"},
        {"layer": "1", "reason": "it would not become smaller"},
    ]


def test_standard_layers_are_no_step_of_a_recipe():
    assert ReplaceConvolutions(conv="standard").is_neutral
    assert ReplaceConvolutions(conv="standard", layers={"a": "skip"}).is_neutral
    assert not ReplaceConvolutions(conv="standard", layers={"a": "grouped"}).is_neutral
    assert ReplaceConvolutions(conv="shuffle", layers={"a": "grouped"}).at_round(2, 3).is_neutral
    with pytest.raises(ValueError, match="groups=1: must be "):
        ReplaceConvolutions(conv="grouped", groups=1)


class Peculiar(nn.Module):
    """Looks at a convolution's weight, calls another twice, and has one that it never calls."""

    def __init__(self):
        super().__init__()
        self.stem, self.twice, self.seen = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3)
        self.same, self.unused = self.twice, nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, images):
        images = self.same(self.twice(self.stem(images))).to(self.seen.weight.dtype)
        return self.head(self.seen(images).mean((2, 3)))


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_whose_attributes_the_network_uses_stays_where_they_are_gone(form, toy_data, make_context):
    context = make_context(toy_data)
    made = ReplaceConvolutions(conv=form).apply(seeded(Peculiar), context)
    reasons = {row["layer"]: row["reason"] for row in context.findings.tables["kept_convolutions"]}
    assert reasons.pop("unused") == "the forward pass does not call it"
    assert list(edits_of(made)) == ["twice", *(["seen"] if form == "grouped" else []), "same"]
    if form != "grouped":
        assert reasons["seen"].startswith("the network uses what only this layer has: AttributeError: ")
    assert made.twice is made.same
    restored = decode(encode(made), seeded(Peculiar, 1))
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(restored(images), made(images))


LATER = {
    "prune_channels": PruneChannels(ratio=0.5),
    "low_rank": LowRank(rank=0.5),
    "fold_batch_norm": FoldBatchNorm(enabled=True),
    "quantize": Quantize(bits=4),
}


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("form", FORMS)
def test_later_stages_act_on_what_is_inside_one_after_the_other_and_the_file_has_it(form, toy_data, make_context):
    context = make_context(toy_data)
    made = ReplaceConvolutions(conv=form).apply(seeded(network), context)
    images = torch.randn(2, 1, 8, 8)
    for name, stage in LATER.items():
        before = count_cost(made, (1, 8, 8))
        made = stage.apply(made, make_context(toy_data, step=name)).eval()
        if name in ("prune_channels", "low_rank"):
            assert count_cost(made, (1, 8, 8)).macs < before.macs
        restored = decode(encode(made), seeded(network, 1))
        assert torch.equal(restored(images), made(images))
    if form == "separable":
        edits = edits_of(made)
        assert edits["3"] == Edit(EditKind.REWRITTEN, (8, 16, 0, 10_000, 100_000))
        assert edits["3.depthwise"] == Edit(EditKind.BIASED, (4, 4, 4))
        assert edits["3.norm"] == Edit(EditKind.REMOVED)
        assert edits["3.pointwise"] == Edit(EditKind.SVD, (4, 2, 8))


def test_it_trains(toy_data, make_context):
    """From the drawn weights, with and without batch norms, as well as what was written as a separable network."""
    for norms in (True, False):
        made = ReplaceConvolutions(conv="separable").apply(seeded(lambda: network(norms)), make_context(toy_data))  # noqa: B023
        context = make_context(toy_data)
        trained = Train(epochs=6, lr=1e-2).apply(made, context)
        assert context.evaluate(trained) > 0.8


@pytest.mark.extended
def test_the_small_networks_of_conf_are_rewritten(make_context, digits_data):
    context = make_context(digits_data)
    for build in (models.lenet_5, models.mobilenet_v1, models.shufflenet_v1):
        options = {"num_classes": 10, "in_channels": 1}
        made = ReplaceConvolutions(conv="separable").apply(seeded(lambda: build(**options)), context)  # noqa: B023
        assert len(edits_of(made)) == (1 if build is models.lenet_5 else 0)
    assert math.isfinite(count_cost(made, (1, 28, 28)).macs)
