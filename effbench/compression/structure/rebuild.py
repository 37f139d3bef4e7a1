"""The structure of an edited network made again on a fresh one, within the fresh one's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from effbench.compression.structure.attention_heads import find_heads, keep_heads
from effbench.compression.structure.edits import (
    Edit,
    EditKind,
    add_bias,
    can_have_bias,
    edit_at,
    is_edited,
    mark_edited,
    merge_blocks,
    own_tensors,
    places,
    remove_module,
    replace_module,
    set_widths,
    size_names,
)
from effbench.compression.structure.factorized import build_factored, can_factor, factor_shapes, n_ranks
from effbench.compression.structure.merged_blocks import Merging, children_of_blocks
from effbench.compression.structure.rewritten import build_rewritten


def apply_edits(network: nn.Module, edits: Mapping[str, Edit], /, *, sizes: Mapping[str, int] | None = None) -> None:
    """Edit a fresh network (or one that has these edits already) in place. Its values are not to be relied on after.

    ValueError for a path that is not there, and for an edit that does not fit the module or would make it larger:
    nothing larger than the network is ever allocated. sizes: `layer_sizes` of the network before its first edit, where
    it has some of them already.
    """
    sizes = layer_sizes(network) if sizes is None else sizes
    for path, edit in edits.items():
        try:
            module = network.get_submodule(path)
        except AttributeError:
            raise ValueError(f"{path}: the network has no such module to edit") from None
        if is_edited(module) and edit_at(module) == edit:
            continue
        if edit.kind == EditKind.RESIZED:
            _resize(module, edit.widths, path)
        elif edit.kind == EditKind.BIASED:
            if not can_have_bias(module):
                raise ValueError(f"{path}: a {type(module).__name__} that has a bias, or can't have one, gets none")
            _resize(module, edit.widths, path)
            add_bias(module)
        elif edit.kind == EditKind.MERGED:
            _merge(module, edit.widths, path)
        elif edit.kind == EditKind.REMOVED:
            remove_module(network, path)
        elif edit.kind == EditKind.HEADS:
            _keep_first_heads(module, edit.widths, path)
        elif edit.kind == EditKind.REWRITTEN:
            replace_module(network, path, _rewritten(module, edit.widths, path))
        else:
            _check_chain(module, edit, path, sizes[path] if path in sizes else _n_weights(module))
            replace_module(network, path, build_factored(module, edit.factorization, edit.widths))


def layer_sizes(network: nn.Module, /) -> dict[str, int]:
    """Return how many weights the layers have, by path: as many as a chain may have, whatever heads go before it."""
    return {path: _n_weights(module) for path, module in places(network)}


def _n_weights(module: nn.Module) -> int:
    """Return how many weights a layer has; 0 of other modules."""
    weight = getattr(module, "weight", None)
    return weight.numel() if isinstance(weight, Tensor) else 0


def _rewritten(module: nn.Module, widths: Sequence[int], path: str) -> nn.Module:
    try:
        return build_rewritten(module, widths)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _keep_first_heads(module: nn.Module, widths: Sequence[int], path: str) -> None:
    heads = find_heads(module)
    if heads is None or len(widths) != 1 or not 1 <= widths[0] <= heads.n:
        had = "none that are known" if heads is None else heads.n
        raise ValueError(f"{path}: a {type(module).__name__} with {had} can't be left with {tuple(widths)} heads")
    keep_heads(heads, torch.arange(widths[0]))
    mark_edited(module)


def _resize(module: nn.Module, widths: Sequence[int], path: str) -> None:
    names = size_names(module)
    if names is None or len(names) != len(widths) or min(widths) < 1:
        raise ValueError(f"{path}: a {type(module).__name__} can't be resized to {tuple(widths)}")
    shapes = {name: _resized(module, tensor, widths) for name, tensor in own_tensors(module)}
    for name, tensor in own_tensors(module):
        grows = any(new > old for new, old in zip(shapes[name], tensor.shape, strict=True))
        if grows or 0 in shapes[name]:
            raise ValueError(
                f"{path}: {name} of shape {tuple(tensor.shape)} can't become {shapes[name]}; edits only remove"
            )
    set_widths(module, widths)
    for name, tensor in list(own_tensors(module)):
        kept = tensor.detach()[tuple(slice(size) for size in shapes[name])].clone()
        if isinstance(tensor, nn.Parameter):
            module._parameters[name] = nn.Parameter(kept, requires_grad=tensor.requires_grad)
        else:
            module._buffers[name] = kept
    mark_edited(module)


def _merge(module: nn.Module, widths: Sequence[int], path: str) -> None:
    children = children_of_blocks(module)
    if children is None or len(widths) != Merging.n_widths(children) or min(widths) < 0:
        raise ValueError(f"{path}: a {type(module).__name__} is no sequence of blocks whose tokens merge by {widths}")
    try:
        merge_blocks(module, Merging.from_widths(widths, children))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _resized(module: nn.Module, tensor: Tensor, widths: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that one of a layer's tensors has at other widths; 0 in it where they don't divide."""
    if tensor.ndim < 2:
        return (widths[min(1, len(widths) - 1)],) * tensor.ndim  # per output; a count of batches has no dimension
    n_in, n_out, *rest = widths
    groups = rest[0] if rest else 1
    if n_in % groups or n_out % groups:
        return (0,) * tensor.ndim
    if isinstance(module, _ConvTransposeNd):
        return (n_in, n_out // groups, *tensor.shape[2:])
    return (n_out, n_in // groups, *tensor.shape[2:])


def _check_chain(module: nn.Module, edit: Edit, path: str, most_weights: int) -> None:
    """Refuse a chain that is none of this layer, or that has more weights than are allowed, before it is made."""
    if (
        not can_factor(module, edit.factorization)
        or len(edit.widths) != n_ranks(edit.factorization) + 2
        or min(edit.widths) < 1
    ):
        raise ValueError(
            f"{path}: {edit.factorization} factors of widths {edit.widths} do not fit a {type(module).__name__}"
        )
    weight = module.weight
    assert isinstance(weight, Tensor)
    n_out, n_in = weight.shape[:2]
    n_weights = sum(prod(shape) for shape in factor_shapes(module, edit.factorization, edit.widths))
    if edit.widths[0] > n_in or edit.widths[-1] > n_out or n_weights > most_weights:
        raise ValueError(
            f"{path}: factors of widths {edit.widths} are larger than the layer ({n_in} to {n_out}); edits only remove"
        )
