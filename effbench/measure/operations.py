"""Which torch operations multiply-add, how often, and which are known not to."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

aten = torch.ops.aten


def _attention_flops(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Count the two matrix products of attention."""
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


# torch.utils.flop_counter leaves out what these do, and counts them as nothing.
_FLOPS_BESIDE: dict[Any, Callable[..., int]] = {
    aten.mv: lambda matrix, vector, **_: 2 * prod(matrix.shape),
    aten.addmv: lambda _bias, matrix, vector, **_: 2 * prod(matrix.shape),
    aten.dot: lambda left, right, **_: 2 * left.numel(),
    aten.vdot: lambda left, right, **_: 2 * left.numel(),
    aten.addbmm: lambda _bias, left, right, **_: 2 * prod(left.shape) * right.shape[2],
    aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: _attention_flops(q, k, v),
}

# aten operations that torch's own tags (pointwise, view) do not cover, and that have no multiply-add in our sense:
# normalisation, pooling, resampling, activations, reductions, ordering, making, drawing and moving data. In-place forms
# are meant too.
_FREE_NAMES = frozenset(
    """
    _fused_rms_norm _native_batch_norm_legit _native_batch_norm_legit_no_training native_batch_norm
    native_group_norm native_layer_norm

    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d avg_pool2d
    avg_pool3d fractional_max_pool2d fractional_max_pool3d max_pool2d_with_indices max_pool3d_with_indices
    max_unpool2d max_unpool3d

    grid_sampler_2d grid_sampler_3d upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
    upsample_nearest2d upsample_nearest3d upsample_trilinear3d _upsample_bicubic2d_aa _upsample_bilinear2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d

    _log_softmax _prelu_kernel _safe_softmax _softmax glu hardswish rrelu_with_noise

    all amax amin aminmax any argmax argmin count_nonzero cummax cummin cumprod cumsum kthvalue linalg_vector_norm
    logcumsumexp logsumexp max mean median min mode nansum norm prod std std_mean sum var var_mean

    argsort bucketize nonzero searchsorted sort topk unique_dim _unique2

    arange empty empty_like empty_permuted empty_strided eye fill full full_like linspace new_empty
    new_empty_strided new_full new_ones new_zeros ones ones_like scalar_tensor tril_indices triu_indices zero zeros
    zeros_like

    bernoulli exponential multinomial native_dropout normal rand rand_like randint randint_like randn randn_like
    randperm uniform

    _assert_async _index_put_impl _local_scalar_dense _pin_memory _reshape_copy _to_copy _unsafe_index _unsafe_view
    as_strided block_diag cat channel_shuffle clone col2im constant_pad_nd copy diag_embed embedding flip gather
    im2col index index_add index_copy index_fill index_put index_select isin lift lift_fresh lift_fresh_copy
    masked_fill masked_scatter masked_select pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d
    reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d resize roll
    rot90 scatter scatter_add scatter_reduce select_scatter set slice_scatter squeeze stack t take transpose tril
    triu unsafe_split unsafe_split_with_sizes unsqueeze where
    """.split()
)


def macs_of(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outcome: object, /) -> int | None:
    """Return the multiply-adds of one call of an operation (an OpOverload); 0 if free, None if it is not known."""
    packet = operation._overloadpacket
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=outcome)) // 2
    if packet in _FLOPS_BESIDE:
        return _FLOPS_BESIDE[packet](*args, **kwargs) // 2
    return 0 if _is_free(operation) else None


def _is_free(operation: Any) -> bool:
    """Whether an operation is known to multiply-add nothing: by torch's tags, or by our list."""
    tags = operation.tags
    return (
        torch.Tag.pointwise in tags
        or torch.Tag.view_copy in tags
        or operation.is_view
        or (operation.namespace == "aten" and operation._overloadpacket.__name__.removesuffix("_") in _FREE_NAMES)
    )
