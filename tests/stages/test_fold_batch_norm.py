"""Batch norms folded for points and references alike."""

import pytest
import torch
from torch import nn

from effbench.config.read import read_sweep
from effbench.stages.fold_batch_norm import FoldBatchNorm


def n_norms(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_the_network_computes_the_same_without_them(toy_data, toy_network, make_context):
    model = toy_network().eval()
    model[1].running_mean.uniform_(-1, 1)
    model[1].running_var.uniform_(0.5, 2)
    folded = FoldBatchNorm(enabled=True).apply(model, make_context(toy_data)).eval()
    assert (n_norms(model), n_norms(folded)) == (1, 0)
    images = next(toy_data.batches("val", side=8, batch_size=16))[0]
    assert torch.allclose(folded(images), model(images), atol=1e-5)


def test_by_default_nothing_is_folded(toy_data, toy_network, make_context):
    assert FoldBatchNorm().is_neutral and not FoldBatchNorm(enabled=True).is_neutral
    assert n_norms(FoldBatchNorm().apply(toy_network(), make_context(toy_data))) == 1


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("axis", ["bits=4", "act_bits=8", "bits_budget=4", "act_bits_budget=4"])
def test_it_stands_directly_before_quantisation_in_points_and_references(axis):
    reference, point = read_sweep([f"+{axis}", "stage.fold_batch_norm.enabled=true"]).plan.points
    names = [[str(step) for step in one.chain.steps] for one in (reference, point)]
    assert names[0] == ["train", "best of 0 to 1 × (finetune)", "fold_batch_norm"]
    assert names[1][:3] == ["train", "finetune", "fold_batch_norm"] and len(names[1]) == 4


def test_where_quantisation_comes_before_finetuning_references_are_folded_there_as_well():
    reference, point = read_sweep(
        ["+bits=4", "recipe=quantization_aware", "stage.fold_batch_norm.enabled=true"]
    ).plan.points
    assert [str(step) for step in point.chain.steps] == ["train", "fold_batch_norm", "quantize", "finetune"]
    # A reference that no finetuning makes better is folded, too.
    assert [str(step) for step in reference.chain.steps] == [
        "train",
        "best of 0 to 1 × (fold_batch_norm → finetune)",
        "fold_batch_norm/1",
    ]


@pytest.mark.parametrize("stage", ["quantize", "quantize_inputs", "bits_budget"])
def test_the_options_that_it_replaces_name_it(stage):
    with pytest.raises(ValueError) as refusal:
        read_sweep(["+bits=4", f"stage.{stage}.fold_batch_norm=true"])
    assert str(refusal.value) == (
        f"stage.{stage}.fold_batch_norm: folding is done to points and references alike; "
        "give stage.fold_batch_norm.enabled=true"
    )
