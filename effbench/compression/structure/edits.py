"""What became of a network's modules when its structure was edited: plain data, of a fixed list of kinds.

An edited module carries a mark, so that a network knows its edits through every copy: the state they led to, not their
history. `edits_of` reads them, `rebuild.apply_edits` makes them again on a fresh network; the run's file and the store
keep them so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from effbench.compression.structure.attention_heads import find_heads, has_lost_heads, n_heads
from effbench.compression.structure.factorized import Factored, Factorization, can_factor, n_ranks
from effbench.compression.structure.merged_blocks import MergedBlocks, Merging, children_of_blocks, set_merging
from effbench.compression.structure.rewritten import N_WIDTHS, Rewritten, can_rewrite

_MARK = "is_structural_edit"
_BIAS_MARK = "has_added_bias"

# The layers that can be resized, and the attributes that say their sizes.
_SIZES: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (_ConvNd, ("in_channels", "out_channels", "groups")),
    (nn.Linear, ("in_features", "out_features")),
    (_BatchNorm, ("num_features",)),
    (nn.GroupNorm, ("num_channels",)),
    (nn.PReLU, ("num_parameters",)),
    (_InstanceNorm, ("num_features",)),
    (nn.LayerNorm, ("normalized_shape",)),
)


class Passed(nn.Identity):
    """Stands in the place of a removed module: returns its first input, whatever else it is called with."""

    def forward(self, input: Tensor, *_others: Any, **_named: Any) -> Tensor:  # noqa: A002
        """Return the input."""
        return input


class EditKind(IntEnum):
    """What an edit makes of a module. The numbers stand in files: append only."""

    REMOVED = 0
    """Its output is its input."""
    RESIZED = 1
    """The same layer with fewer channels or features."""
    SVD = 2
    """A chain of layers (`factorized`), likewise the next two."""
    SPATIAL = 3
    TUCKER = 4
    BIASED = 5
    """The same layer with a bias that it had not, and the sizes that the edit says, as of RESIZED."""
    HEADS = 6
    """The same attention layer with fewer heads. Layers within it may have edits of their own, which come after."""
    REWRITTEN = 7
    """A chain of cheaper convolutions (`rewritten`), which may be edited themselves."""
    MERGED = 8
    """The same sequence of blocks, with tokens merged on the way (`merged_blocks`). What is inside is no part of it."""


_FACTORIZATIONS: dict[EditKind, Factorization] = {
    EditKind.SVD: "svd",
    EditKind.SPATIAL: "spatial",
    EditKind.TUCKER: "tucker",
}
_KIND_OF: dict[Factorization, EditKind] = {name: kind for kind, name in _FACTORIZATIONS.items()}


@dataclass(frozen=True)
class Edit:
    """What stands in a module's place.

    widths, of RESIZED and BIASED: (in, out, groups) of a convolution, (in, out) of a linear layer, (n,) of a
    normalisation. Of a low-rank chain: (in, ranks …, out). Of HEADS: how many are left. Of REMOVED: none. Of
    REWRITTEN: see `rewritten.N_WIDTHS`. Of MERGED: those of `Merging`.
    """

    kind: EditKind
    widths: tuple[int, ...] = ()

    @classmethod
    def from_plain(cls, plain: Sequence[Any], /) -> Edit:
        """Return the edit that `to_plain` wrote. ValueError for what it can't have written."""
        if not plain or not all(type(value) is int for value in plain) or plain[0] not in list(EditKind):
            raise ValueError(f"{list(plain)} is no structural edit: a known kind and its widths, as integers")
        return cls(EditKind(plain[0]), tuple(plain[1:]))

    def to_plain(self) -> list[int]:
        """Return the edit as JSON-able data: the kind's number, then the widths."""
        return [int(self.kind), *self.widths]

    @property
    def factorization(self) -> Factorization:
        """How a low-rank chain is made of the layer it replaces; the kind must be that of one."""
        return _FACTORIZATIONS[self.kind]


def places(network: nn.Module, /) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module with its path, parents first; a shared one at each of its places; none inside an edited one.

    Inside of attention that has lost heads all stand where they stood, and so do blocks whose tokens are merged; inside
    of a rewritten convolution are places, too. Where a module is replaced while this goes on, it goes on with the new
    one. An edited network and the one it was made of have the same places, but for those inside edited modules.
    """
    yield "", network
    yield from _inside("", network)


def _inside(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if is_edited(module) and not isinstance(module, Rewritten | MergedBlocks) and not has_lost_heads(module):
        return
    for name in list(module._modules):
        inner = f"{path}.{name}" if path else name
        if name != "parametrizations" and (child := module._modules[name]) is not None:
            yield inner, child
            yield from _inside(inner, module.get_submodule(name))  # what stands there now


def is_edited(module: nn.Module, /) -> bool:
    """Whether a module stands where a structural edit put or changed it."""
    return bool(vars(module).get(_MARK, False))


def mark_edited(module: nn.Module, /) -> None:
    """Mark a module as one that a structural edit has put or changed, in place."""
    setattr(module, _MARK, True)


def edits_of(network: nn.Module, /) -> dict[str, Edit]:
    """Return the structural edits that a network carries, by path, in the order of its modules."""
    return {path: edit_at(module) for path, module in places(network) if is_edited(module)}


def remove_module(network: nn.Module, path: str, /) -> None:
    """Let the module at `path` return its input, in place. ValueError for the network itself."""
    replace_module(network, path, Passed())


def replace_module(network: nn.Module, path: str, module: nn.Module, /) -> None:
    """Put an edited module (`Factored`, `Rewritten`, `nn.Identity`) where another is, at each of its places."""
    assert isinstance(module, Factored | Rewritten | nn.Identity)
    if not path:
        raise ValueError(f"a network that is a single {type(network).__name__} can't be replaced as a whole")
    old = network.get_submodule(path)
    mark_edited(module)
    for parent in list(network.modules()):
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = module


def merge_blocks(blocks: nn.Module, merging: Merging, /) -> None:
    """Let a sequence of blocks merge tokens, in place. ValueError where it is none of these blocks."""
    set_merging(blocks, merging)
    mark_edited(blocks)


def add_bias(layer: nn.Module, /) -> None:
    """Give a convolution or linear layer a bias of zeros, in place, where it has none."""
    names, weight = size_names(layer), layer.weight
    assert names is not None and isinstance(weight, Tensor)
    if layer._parameters["bias"] is None:
        zeros = weight.detach().new_zeros(int(cast("int", getattr(layer, names[1]))))
        layer.bias = nn.Parameter(zeros, requires_grad=weight.requires_grad)
        mark_edited(layer)
        setattr(layer, _BIAS_MARK, True)


def has_added_bias(layer: nn.Module, /) -> bool:
    """Whether a layer's bias is one that it was not made with."""
    return bool(vars(layer).get(_BIAS_MARK, False))


def can_have_bias(module: nn.Module, /) -> bool:
    """Whether a module is a convolution or linear layer without a bias of its own."""
    return isinstance(module, _ConvNd | nn.Linear) and (module.bias is None or has_added_bias(module))


def record_changes(before: nn.Module, after: nn.Module, /) -> None:
    """Mark the layers of `after` whose sizes differ from those of the same layer of `before`.

    Both have the same places. ValueError, with its path, for a module that changed and is none that can be resized.
    """
    originals = dict(places(before))
    for path, module in places(after):
        original = originals[path]
        if is_edited(module) or _sizes(module) == _sizes(original):
            continue
        if size_names(module) is None:
            place = f"its {path}" if path else "itself"
            raise ValueError(f"{place} is a {type(module).__name__}, which can't be rebuilt with other sizes")
        mark_edited(module)


def size_names(module: nn.Module, /) -> tuple[str, ...] | None:
    """Return the attributes that say a layer's sizes; None for what can't be resized."""
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) != 1:
        return None
    return next((names for kind, names in _SIZES if isinstance(module, kind)), None)


def edit_at(module: nn.Module, /) -> Edit:
    """Return the edit that an edited module stands for."""
    if isinstance(module, nn.Identity):
        return Edit(EditKind.REMOVED)
    if isinstance(module, Factored):
        return Edit(_KIND_OF[module.factorization], module.widths)
    if isinstance(module, Rewritten):
        return Edit(EditKind.REWRITTEN, module.widths)
    if has_lost_heads(module):
        return Edit(EditKind.HEADS, (n_heads(module),))
    if isinstance(module, MergedBlocks):
        return Edit(EditKind.MERGED, module.merging.widths(module.block_children))
    assert size_names(module) is not None, module
    return Edit(EditKind.BIASED if has_added_bias(module) else EditKind.RESIZED, widths_of(module))


def n_widths(kind: EditKind, module: nn.Module, /) -> int | None:
    """Return how many widths an edit of this kind has on this module; None where it can't be made."""
    if kind == EditKind.REMOVED:
        return 0
    if kind == EditKind.HEADS:
        return 1 if find_heads(module) is not None else None
    if kind == EditKind.BIASED and not can_have_bias(module):
        return None
    if kind in (EditKind.RESIZED, EditKind.BIASED):
        names = size_names(module)
        return None if names is None else len(names)
    if kind == EditKind.REWRITTEN:
        return N_WIDTHS if isinstance(module, Rewritten) or can_rewrite(module) else None
    if kind == EditKind.MERGED:
        children = children_of_blocks(module)
        return None if children is None else Merging.n_widths(children)
    factorization = Edit(kind).factorization
    is_made = isinstance(module, Factored) and module.factorization == factorization
    return n_ranks(factorization) + 2 if is_made or can_factor(module, factorization) else None


def own_tensors(module: nn.Module, /) -> Iterator[tuple[str, Tensor]]:
    """Yield a module's parameters, then its buffers, with their names; not those of its children."""
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None:
            yield name, tensor


def widths_of(module: nn.Module, /) -> tuple[int, ...]:
    """Return the sizes of a layer that can be resized, in the order of their names; none of another module."""
    values = [getattr(module, name) for name in size_names(module) or ()]
    return tuple(int(value[0] if isinstance(value, tuple) else value) for value in values)


def set_widths(layer: nn.Module, widths: Sequence[int], /) -> None:
    """Set the sizes of a layer that can be resized, but for its tensors, in place.

    Where each channel of a group norm is a group of its own, it stays so.
    """
    if isinstance(layer, nn.GroupNorm) and layer.num_groups == layer.num_channels:
        layer.num_groups = widths[0]
    for name, width in zip(size_names(layer) or (), widths, strict=True):
        setattr(layer, name, (width,) if name == "normalized_shape" else width)


def _sizes(module: nn.Module) -> tuple[object, ...]:
    return widths_of(module), {name: tuple(tensor.shape) for name, tensor in own_tensors(module)}
