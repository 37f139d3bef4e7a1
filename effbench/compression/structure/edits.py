"""What became of a network's modules when its structure was edited: plain data, of a fixed list of kinds.

An edited module carries a mark, so that a network knows its edits through every copy: the state they led to, not their
history. `edits_of` reads them, `apply_edits` makes them again on a fresh network; both the run's file and the store
keep them so. An edit never grows a network, but for one bias a layer: what a file says can't take more memory than the
network it is read into.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from effbench.compression.structure.factorized import (
    SCHEMES,
    Factored,
    Scheme,
    build_factored,
    can_factor,
    factor_shapes,
    n_ranks,
)

_MARK = "is_structural_edit"
_BIAS_MARK = "has_added_bias"

# The layers that can be resized, and the attributes that say their sizes.
_SIZES: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (_ConvNd, ("in_channels", "out_channels", "groups")),
    (nn.Linear, ("in_features", "out_features")),
    (_BatchNorm, ("num_features",)),
    (nn.GroupNorm, ("num_channels",)),
    (nn.PReLU, ("num_parameters",)),
)


class Kind(IntEnum):
    """What an edit makes of a module. The numbers stand in files: append only."""

    REMOVED = 0
    """Its output is its input."""
    RESIZED = 1
    """The same layer with fewer channels or features."""
    SVD = 2
    """A chain of layers (`factored`), likewise the next two."""
    SPATIAL = 3
    TUCKER = 4
    BIASED = 5
    """The same layer with a bias that it had not, and the sizes that the edit says, as of RESIZED."""


@dataclass(frozen=True)
class Edit:
    """What stands in a module's place.

    widths, of RESIZED and BIASED: (in, out, groups) of a convolution, (in, out) of a linear layer, (n,) of a
    normalisation. Of a chain: (in, ranks …, out). Of REMOVED: none.
    """

    kind: Kind
    widths: tuple[int, ...] = ()

    @classmethod
    def from_plain(cls, plain: Sequence[Any], /) -> Edit:
        """Return the edit that `to_plain` wrote. ValueError for what it can't have written."""
        if not plain or not all(type(value) is int for value in plain) or plain[0] not in list(Kind):
            raise ValueError(f"{list(plain)} is no structural edit: a known kind and its widths, as integers")
        return cls(Kind(plain[0]), tuple(plain[1:]))

    def to_plain(self) -> list[int]:
        """Return the edit as JSON-able data: the kind's number, then the widths."""
        return [int(self.kind), *self.widths]

    @property
    def scheme(self) -> Scheme:
        """How a chain is made of the layer it replaces."""
        return SCHEMES[self.kind - Kind.SVD]


def places(network: nn.Module, /) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module with its path, parents first; a shared one at each of its places; none inside an edited one.

    An edited network and the one it was made of have the same places, but for those inside edited modules.
    """
    yield from _places("", network)


def _places(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield path, module
    if not is_edited(module):
        for name, child in module._modules.items():
            if child is not None and name != "parametrizations":
                yield from _places(f"{path}.{name}" if path else name, child)


def is_edited(module: nn.Module, /) -> bool:
    """Whether a module stands where a structural edit put or changed it."""
    return bool(vars(module).get(_MARK, False))


def edits_of(network: nn.Module, /) -> dict[str, Edit]:
    """Return the structural edits that a network carries, by path, in the order of its modules."""
    return {path: _edit_at(module) for path, module in places(network) if is_edited(module)}


def apply_edits(network: nn.Module, edits: Mapping[str, Edit], /) -> None:
    """Edit a fresh network (or one that has these edits already) in place. Its values are not to be relied on after.

    ValueError for a path that is not there, and for an edit that does not fit the module or would make it larger:
    nothing larger than the network is ever allocated.
    """
    for path, edit in edits.items():
        try:
            module = network.get_submodule(path)
        except AttributeError:
            raise ValueError(f"{path}: the network has no such module to edit") from None
        if is_edited(module) and _edit_at(module) == edit:
            continue
        if edit.kind == Kind.RESIZED:
            _resize(module, edit.widths, path)
        elif edit.kind == Kind.BIASED:
            if not _can_have_bias(module):
                raise ValueError(f"{path}: a {type(module).__name__} that has a bias, or can't have one, gets none")
            _resize(module, edit.widths, path)
            add_bias(module)
        elif edit.kind == Kind.REMOVED:
            remove(network, path)
        else:
            _check_chain(module, edit, path)
            replace(network, path, build_factored(module, edit.scheme, edit.widths))


def remove(network: nn.Module, path: str, /) -> None:
    """Let the module at `path` return its input, in place. ValueError for the network itself."""
    replace(network, path, nn.Identity())


def replace(network: nn.Module, path: str, module: nn.Module, /) -> None:
    """Put an edited module (`Factored` or `nn.Identity`) where another is, at each of its places."""
    assert isinstance(module, Factored | nn.Identity)
    if not path:
        raise ValueError(f"a network that is a single {type(network).__name__} can't be replaced as a whole")
    old = network.get_submodule(path)
    setattr(module, _MARK, True)
    for parent in list(network.modules()):
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = module


def add_bias(layer: nn.Module, /) -> None:
    """Give a convolution or linear layer a bias of zeros, in place, where it has none."""
    names, weight = size_names(layer), layer.weight
    assert names is not None and isinstance(weight, Tensor)
    if layer._parameters["bias"] is None:
        zeros = weight.detach().new_zeros(int(cast("int", getattr(layer, names[1]))))
        layer.bias = nn.Parameter(zeros, requires_grad=weight.requires_grad)
        setattr(layer, _MARK, True)
        setattr(layer, _BIAS_MARK, True)


def has_added_bias(layer: nn.Module, /) -> bool:
    """Whether a layer's bias is one that it was not made with."""
    return bool(vars(layer).get(_BIAS_MARK, False))


def _can_have_bias(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd | nn.Linear) and (module.bias is None or has_added_bias(module))


def record_changes(before: nn.Module, after: nn.Module, /) -> None:
    """Mark the layers of `after` whose sizes differ from those of the same layer of `before`.

    Both have the same places. ValueError, with its path, for a module that changed and is none that can be resized.
    """
    originals = dict(places(before))
    for path, module in places(after):
        original = originals[path]
        if is_edited(module) or _tensor_shapes(module) == _tensor_shapes(original):
            continue
        if size_names(module) is None:
            place = f"its {path}" if path else "itself"
            raise ValueError(f"{place} is a {type(module).__name__}, which can't be rebuilt with other sizes")
        setattr(module, _MARK, True)


def size_names(module: nn.Module, /) -> tuple[str, ...] | None:
    """Return the attributes that say a layer's sizes; None for what can't be resized."""
    return next((names for kind, names in _SIZES if isinstance(module, kind)), None)


def _edit_at(module: nn.Module) -> Edit:
    """Return the edit that an edited module stands for."""
    if isinstance(module, nn.Identity):
        return Edit(Kind.REMOVED)
    if isinstance(module, Factored):
        return Edit(Kind(Kind.SVD + SCHEMES.index(module.scheme)), module.widths)
    names = size_names(module)
    assert names is not None, module
    widths = tuple(int(cast("int", getattr(module, name))) for name in names)
    return Edit(Kind.BIASED if has_added_bias(module) else Kind.RESIZED, widths)


def n_widths(kind: Kind, module: nn.Module, /) -> int | None:
    """Return how many widths an edit of this kind has on this module; None where it can't be made."""
    if kind == Kind.REMOVED:
        return 0
    if kind == Kind.BIASED and not _can_have_bias(module):
        return None
    if kind in (Kind.RESIZED, Kind.BIASED):
        names = size_names(module)
        return None if names is None else len(names)
    scheme = Edit(kind).scheme
    fits = can_factor(module, scheme) or (isinstance(module, Factored) and module.scheme == scheme)
    return n_ranks(scheme) + 2 if fits else None


def _resize(module: nn.Module, widths: Sequence[int], path: str) -> None:
    names = size_names(module)
    if names is None or len(names) != len(widths) or min(widths) < 1:
        raise ValueError(f"{path}: a {type(module).__name__} can't be resized to {tuple(widths)}")
    shapes = {name: _resized(module, tensor, widths) for name, tensor in _own_tensors(module)}
    for name, tensor in _own_tensors(module):
        grows = any(new > old for new, old in zip(shapes[name], tensor.shape, strict=True))
        if grows or 0 in shapes[name]:
            raise ValueError(
                f"{path}: {name} of shape {tuple(tensor.shape)} can't become {shapes[name]}; edits only remove"
            )
    for name, size in zip(names, widths, strict=True):
        setattr(module, name, size)
    for name, tensor in list(_own_tensors(module)):
        kept = tensor.detach()[tuple(slice(size) for size in shapes[name])].clone()
        if isinstance(tensor, nn.Parameter):
            module._parameters[name] = nn.Parameter(kept, requires_grad=tensor.requires_grad)
        else:
            module._buffers[name] = kept
    setattr(module, _MARK, True)


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


def _check_chain(module: nn.Module, edit: Edit, path: str) -> None:
    """Refuse a chain that is none of this layer, or that has more weights than it, before it is made."""
    if not can_factor(module, edit.scheme) or len(edit.widths) != n_ranks(edit.scheme) + 2 or min(edit.widths) < 1:
        raise ValueError(f"{path}: {edit.scheme} factors of widths {edit.widths} do not fit a {type(module).__name__}")
    weight = module.weight
    assert isinstance(weight, Tensor)
    n_out, n_in = weight.shape[:2]
    n_weights = sum(prod(shape) for shape in factor_shapes(module, edit.scheme, edit.widths))
    if edit.widths[0] > n_in or edit.widths[-1] > n_out or n_weights > weight.numel():
        raise ValueError(
            f"{path}: factors of widths {edit.widths} are larger than the layer ({n_in} to {n_out}); edits only remove"
        )


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None:
            yield name, tensor


def _tensor_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in _own_tensors(module)}
