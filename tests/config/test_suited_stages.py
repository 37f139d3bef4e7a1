"""Stages that a network does not suit are refused early; what only some networks have is in their keys alone."""

import pytest

from effbench.config.read import read_sweep

TINY = ["data=digits", "train.epochs=1", "finetune.epochs=1", "device=cpu"]
VIT = ["model=small_vit", "model.width=8", "model.heads=2", "model.depth=3"]


def stages_of(arguments, name):
    steps = [step for point in read_sweep([*TINY, *arguments]).plan.points for step in point.chain.plain_steps]
    return [step.stage for step in steps if step.name == name]


@pytest.mark.extended
@pytest.mark.parametrize("value", ["tokens=0.5", "tokens=0.5,1"])
def test_what_no_stage_can_do_to_the_network_is_refused_with_the_point(value):
    with pytest.raises(
        ValueError, match=r"^tokens=0\.5: \w+ can't merge tokens: it has no sequence of blocks"
    ) as refusal:
        read_sweep([*TINY, value])
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match=r"^tokens=0\.1: VisionTransformer can't merge tokens: its 3 blocks"):
        read_sweep([*TINY, *VIT, "tokens=0.1"])
    assert [stage.tokens for stage in stages_of([*VIT, "tokens=0.5"], "merge_tokens")] == [0.5]


@pytest.mark.extended
def test_heads_of_a_network_without_attention_are_refused_before_anything_runs():
    with pytest.raises(ValueError, match=r"^prune_heads=0\.5: prune_heads: Sequential has no attention whose heads"):
        read_sweep([*TINY, "prune_heads=0.5"])
    assert [stage.ratio for stage in stages_of([*VIT, "prune_heads=0.5"], "prune_heads")] == [0.5]


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize(
    ("axis", "stage"), [("prune_heads=0.5", "prune_heads"), ("act_bits=8", "quantize_inputs"), ("prune=0.5", "prune")]
)
def test_layers_may_name_attention_where_it_is_acted_on(axis, stage):
    arguments = [*VIT, axis, f"stage.{stage}.layers={{blocks.0.attention:skip}}"]
    if stage == "prune":
        with pytest.raises(ValueError, match=r"^stage\.prune\.layers: the pattern blocks\.0\.attention meets no layer"):
            read_sweep([*TINY, *arguments])
    else:
        assert [one.layers for one in stages_of(arguments, stage)] == [{"blocks.0.attention": "skip"}]
    with pytest.raises(ValueError, match="meets no layer"):
        read_sweep([*TINY, *VIT, axis, f"stage.{stage}.layers={{blocks.7.*:skip}}"])


@pytest.mark.extended
def test_keys_say_what_only_some_networks_have():
    arguments = ["bits=8", "act_bits=8"]
    for network, extra in (([], {}), (VIT, {"tables": True})):
        (stage,) = stages_of([*network, *arguments], "quantize")
        assert stage.identity()["fields"] == {"bits": 8, **extra}
    for network, extra in (([], {}), (VIT, {"products": True})):
        (stage,) = stages_of([*network, *arguments], "quantize_inputs")
        assert stage.identity()["fields"] == {"bits": 8, **extra}
    (stage,) = stages_of([*VIT, "bits=8", "stage.quantize.tables=false"], "quantize")
    assert stage.identity()["fields"] == {"bits": 8, "tables": False}


def test_rounds_that_end_by_themselves_are_asked_too():
    stages = stages_of([*VIT, "tokens=0.5", "bits=8", "recipe.rounds=2", "recipe.until.max_loss=0.5"], "merge_tokens")
    assert [stage.tokens for stage in stages] == [pytest.approx(0.5**0.5), 0.5]


def test_a_table_may_have_a_width_of_its_own():
    (stage,) = stages_of([*VIT, "bits=8", "stage.quantize.layers={position_table:4}"], "quantize")
    assert stage.layers == {"position_table": 4}
    with pytest.raises(ValueError, match="position_table meets no layer"):
        stages_of([*VIT, "prune=0.5", "stage.prune.layers={position_table:0.1}"], "prune")
