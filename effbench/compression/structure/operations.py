"""How operations pass channels on: for each, where in its result the channels of its inputs are."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from effbench.compression.structure.calls import Call, Follow
from effbench.compression.structure.movements import (
    concatenated,
    halves,
    moved,
    pixel_shuffle,
    repeated,
    split,
    viewed,
)


def follow(call: Call, /) -> list[dict[int, Tensor]]:
    """Return the flow of each of an operation's results; channels that can't be followed through it stay."""
    rule = _RULES.get(call.name)
    if rule is None and torch.Tag.pointwise in call.function.tags:
        rule = _pointwise
    if rule is None and _SPATIAL.search(call.name):
        rule = _over_places
    if rule is None:
        call.keep_all("can't be followed")
        return [{} for _ in call.outputs]
    return rule(call)


def _pointwise(call: Call) -> list[dict[int, Tensor]]:
    """Elements meet: along each dimension the channels are the same."""
    out = call.outputs[0]
    flow: dict[int, Tensor] = {}
    fixed: set[int] = set()
    for tensor, own in zip(call.tensors, call.flows, strict=True):
        shift = out.ndim - tensor.ndim
        for dim in range(tensor.ndim):
            labels, size = own.get(dim), out.shape[dim + shift]
            if labels is None:
                if tensor.shape[dim] == size > 1:
                    fixed.add(dim + shift)
            elif len(labels) != size:
                call.keep(labels, "repeats them")
            elif dim + shift in flow:
                call.labels.join(flow[dim + shift], labels, f"{call.name}{call.place} meets them with fixed values")
            else:
                flow[dim + shift] = labels
    for dim in fixed & set(flow):
        call.keep(flow.pop(dim), "meets them with values of a fixed number")
    return [dict(flow) for _ in call.outputs]


def _same(call: Call) -> list[dict[int, Tensor]]:
    return [dict(call.first[1]) for _ in call.outputs]


def _strided(call: Call) -> list[dict[int, Tensor]]:
    """Followed where each element stays where it is: torch's pooling to one place writes down its strides anew."""
    (tensor, flow), out = call.first, call.outputs[0]
    strides = zip(tensor.shape, tensor.stride(), out.stride(), strict=False)
    stays = tensor.shape == out.shape and all(one == other for size, one, other in strides if size > 1)
    if stays and all(len(labels) == out.shape[dim] for dim, labels in flow.items()):  # in place, it is its output
        return [dict(flow)]
    call.keep_all("can't be followed")
    return [{}]


def _nothing(call: Call) -> list[dict[int, Tensor]]:
    return [{} for _ in call.outputs]


def _along(position: int, name: str) -> Follow:
    """Return the rule for what mixes the places along given dimensions, or reduces these."""

    def along(call: Call) -> list[dict[int, Tensor]]:
        tensor, flow = call.first
        given = call.argument(position, name)
        dims = [given] if isinstance(given, int) else given or range(tensor.ndim)
        mixed = {dim % tensor.ndim for dim in dims}
        for dim in mixed & set(flow):
            call.keep(flow[dim], "takes them together")
        flows = []
        for out in call.outputs:
            shifted = out.ndim < tensor.ndim
            flows.append(
                {
                    dim - (sum(other < dim for other in mixed) if shifted else 0): labels
                    for dim, labels in flow.items()
                    if dim not in mixed
                }
            )
        return flows

    return along


def _stacked(call: Call) -> list[dict[int, Tensor]]:
    new = int(call.argument(1, "dim", 0)) % call.outputs[0].ndim
    (flow,) = _pointwise(_Aligned(call))
    return [{dim + (dim >= new): labels for dim, labels in flow.items()}]


class _Aligned(Call):
    """The same inputs, as if they met element by element."""

    def __init__(self, call: Call) -> None:
        self.__dict__.update(call.__dict__)
        self.outputs = [call.tensors[0]]


def _product(call: Call) -> list[dict[int, Tensor]]:
    """(…, n, k) times (…, k, m): what is summed over stays, as no layer says which of it is read."""
    *bias, (a, of_a), (b, of_b) = zip(call.tensors, call.flows, strict=True)
    out, flow = call.outputs[0], dict[int, Tensor]()
    for labels in (of_a.get(a.ndim - 1), of_b.get(max(b.ndim - 2, 0))):
        if labels is not None:
            call.keep(labels, "sums over them")
    for dim in range(out.ndim):
        batch = dim < out.ndim - 2
        pair = (of_a.get(dim), of_b.get(dim)) if batch else (of_a.get(dim),) if dim == a.ndim - 2 else (of_b.get(dim),)
        known = [labels for labels in pair if labels is not None]
        if not known:
            continue
        n_given = [tensor.shape[dim - out.ndim] for tensor, _ in bias if tensor.ndim >= out.ndim - dim]
        if len(known) < len(pair) or any(n > 1 for n in n_given):
            call.keep(known[0], "meets them with values of a fixed number")
            continue
        if len(known) == 2:
            call.labels.join(known[0], known[1], "")
        flow[dim] = known[0]
    return [flow]


def _layer_norm(call: Call) -> list[dict[int, Tensor]]:
    tensor, flow = call.first
    first = tensor.ndim - len(call.args[1])
    for dim in [dim for dim in flow if dim >= first]:
        call.keep(flow[dim], "takes them together")
    left = {dim: labels for dim, labels in flow.items() if dim < first}
    return [left if out.ndim == tensor.ndim else {} for out in call.outputs]


def _over_places(call: Call) -> list[dict[int, Tensor]]:
    """Pooling, resizing and padding of the last dimensions leave those before them as they are."""
    tensor, flow = call.first
    found = _SPATIAL.search(call.name)
    first = tensor.ndim - (int(found.group(1)) if found else len(call.args[1]) // 2)
    for dim in [dim for dim in flow if dim >= first]:
        call.keep(flow[dim], "takes them together")
    left = {dim: labels for dim, labels in flow.items() if dim < first}
    return [left if out.ndim == tensor.ndim else {} for out in call.outputs]


_SPATIAL = re.compile(r"(?:pool|pad|upsample_\w*?)([123])d")

_RULES: dict[str, Follow] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias", "unflatten"), viewed),
    **dict.fromkeys(
        ("permute", "transpose", "t", "squeeze", "unsqueeze", "expand", "select", "slice", "unbind"), moved
    ),
    **dict.fromkeys(("flip", "roll", "index", "index_select", "unfold", "repeat", "diagonal", "narrow"), moved),
    **dict.fromkeys(("alias", "detach", "clone", "contiguous", "_to_copy", "lift_fresh", "native_dropout"), _same),
    **dict.fromkeys(("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "fill"), _same),
    **dict.fromkeys(("zero", "bernoulli", "_conj"), _same),
    **dict.fromkeys(("new_zeros", "new_ones", "new_empty", "new_full", "_local_scalar_dense"), _nothing),
    **dict.fromkeys(("copy", "hardswish", "where", "masked_fill", "rrelu_with_noise"), _pointwise),
    **dict.fromkeys(
        ("sum", "mean", "amax", "amin", "var", "std", "argmax", "argmin", "prod", "any", "all"), _along(1, "dim")
    ),
    **dict.fromkeys(
        ("max", "min", "median", "_softmax", "_log_softmax", "cumsum", "cumprod", "logsumexp"), _along(1, "dim")
    ),
    **dict.fromkeys(("sort", "argsort", "var_mean", "std_mean"), _along(1, "dim")),
    **dict.fromkeys(("linalg_vector_norm", "norm", "topk"), _along(2, "dim")),
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"), split),
    "as_strided": _strided,
    "glu": halves,
    "cat": concatenated,
    "stack": _stacked,
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm"), _product),
    "native_layer_norm": _layer_norm,
    "constant_pad_nd": _over_places,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": lambda call: repeated(int(call.args[1]) ** 2, 3, call),
    "im2col": lambda call: repeated(int(call.args[1][0]) * int(call.args[1][1]), 3, call),
}
