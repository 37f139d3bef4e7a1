"""How operations that move values as a whole pass channels on: views, permutations, parts, concatenations.

Most are followed by applying them to the numbers of the places: what comes out says where the channels went.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from effbench.compression.structure.calls import Call


def _numbered(tensor: Tensor, dim: int) -> Tensor:
    """Return the number of the place along a dimension for each element of a tensor, without memory of its own."""
    shape = [1] * tensor.ndim
    shape[dim] = -1
    return torch.arange(tensor.shape[dim], device=tensor.device).reshape(shape).expand(tensor.shape)


def _varying(numbers: Tensor) -> list[int]:
    """Return the dimensions along which the numbers differ."""
    dims = []
    for dim in range(numbers.ndim):
        if numbers.shape[dim] > 1 and numbers.stride(dim):
            if bool((numbers != numbers.narrow(dim, 0, 1)).any()):
                dims.append(dim)
            numbers = numbers.narrow(dim, 0, 1) if dim not in dims else numbers
        elif numbers.shape[dim] > 1:
            numbers = numbers.narrow(dim, 0, 1)
    return dims


def _along_only(numbers: Tensor, dim: int) -> Tensor:
    """Return the numbers along one dimension, where they differ along no other one."""
    for other in range(numbers.ndim):
        if other != dim:
            numbers = numbers.narrow(other, 0, 1)
    return numbers.flatten()


def moved(call: Call, /) -> list[dict[int, Tensor]]:
    """Values move as a whole: the operation itself says where the places go, which must keep their order."""

    def run(numbers: Tensor) -> Sequence[Tensor]:
        args, kwargs = tree_map(lambda value: numbers if value is call.tensors[0] else value, (call.args, call.kwargs))
        result = call.function(*args, **kwargs)
        return [result] if isinstance(result, Tensor) else list(result)

    return _by_numbers(call, run, reorder=call.name == "flip")


def viewed(call: Call, /) -> list[dict[int, Tensor]]:
    """Elements stay in their order: channels may be joined with other dimensions, but not divided."""
    tensor, out = call.tensors[0], call.outputs[0]
    if tensor.numel() != out.numel():
        call.keep_all("can't be followed")
        return [{}]

    def run(numbers: Tensor) -> Sequence[Tensor]:
        # Of examples that are alike one is enough.
        if tensor.ndim and out.ndim and tensor.shape[0] == out.shape[0] and not numbers.stride(0):
            return [numbers[:1].reshape(1, *out.shape[1:]).expand(out.shape)]
        return [numbers.reshape(out.shape)]

    return _by_numbers(call, run, reorder=True)


def _by_numbers(call: Call, run: Callable[[Tensor], Sequence[Tensor]], *, reorder: bool) -> list[dict[int, Tensor]]:
    tensor, flow = call.first
    flows: list[dict[int, Tensor]] = [{} for _ in call.outputs]
    if any(call.flows[1:]):
        call.keep_all("can't be followed")
        return flows
    for dim, labels in flow.items():
        for number, numbers in enumerate(run(_numbered(tensor, dim))):
            varying = _varying(numbers)
            if len(varying) != 1 or varying[0] in flows[number]:
                call.keep(labels, "divides or selects them")
                continue
            order = _along_only(numbers, varying[0]).cpu()
            if not reorder and not torch.equal(order, torch.arange(len(labels))):
                call.keep(labels, "reorders or selects them")
                continue
            flows[number][varying[0]] = labels[order]
    return flows


def split(call: Call, /) -> list[dict[int, Tensor]]:
    """Equal parts lose the channels at the same places; others have their sizes written down somewhere."""
    tensor, flow = call.first
    split_dim = int(call.argument(2, "dim", 0)) % tensor.ndim
    flows = [{dim: labels for dim, labels in flow.items() if dim != split_dim} for _ in call.outputs]
    if split_dim in flow:
        sizes = [out.shape[split_dim] for out in call.outputs]
        if len(set(sizes)) > 1:
            call.keep(flow[split_dim], f"divides them into {', '.join(map(str, sizes))}")
            return flows
        parts = flow[split_dim].reshape(len(sizes), -1)
        call.labels.tie(parts.T)
        for own, labels in zip(flows, parts, strict=True):
            own[split_dim] = labels
    return flows


def halves(call: Call, /) -> list[dict[int, Tensor]]:
    """Of two halves one gates the other: channels at the same place of both are the same."""
    tensor, flow = call.first
    halved = dict(flow)
    dim = int(call.argument(1, "dim", -1)) % tensor.ndim
    if dim in flow:
        halved[dim], gates = flow[dim].chunk(2)
        call.labels.join(halved[dim], gates, "")
    return [halved]


def concatenated(call: Call, /) -> list[dict[int, Tensor]]:
    """Channels stand one after another, or are the same along other dimensions."""
    out = call.outputs[0]
    cat_dim = int(call.argument(1, "dim", 0)) % out.ndim
    present = [(t, f) for t, f in zip(call.tensors, call.flows, strict=True) if t.ndim == out.ndim]
    flow: dict[int, Tensor] = {}
    for dim in {dim for _, own in present for dim in own}:
        zeros = [torch.zeros(tensor.shape[dim], dtype=torch.int64) for tensor, _ in present]
        labels = [own.get(dim, zero) for (_, own), zero in zip(present, zeros, strict=True)]
        if dim == cat_dim:
            flow[dim] = torch.cat(labels)
            continue
        for other in labels[1:]:
            call.labels.join(labels[0], other, f"{call.name}{call.place} meets them with fixed values")
        if all(dim in own for _, own in present):
            flow[dim] = labels[0]
    return [flow]


def pixel_shuffle(call: Call, /) -> list[dict[int, Tensor]]:
    """Each r² channels become the places of one."""
    tensor, flow = call.first
    n, shuffled = int(call.args[1]) ** 2, dict(flow)
    for dim in {tensor.ndim - 1, tensor.ndim - 2} & set(flow):
        call.keep(shuffled.pop(dim), "reorders them")
    if tensor.ndim - 3 in flow:
        parts = flow[tensor.ndim - 3].reshape(-1, n)
        for column in range(1, n):
            call.labels.join(parts[:, 0], parts[:, column], "")
        shuffled[tensor.ndim - 3] = parts[:, 0]
    return [shuffled]


def repeated(n: int, dim_from_last: int, call: Call, /) -> list[dict[int, Tensor]]:
    """Each channel becomes n after each other."""
    tensor, flow = call.first
    dim = tensor.ndim - dim_from_last
    for other in set(flow) - {dim, 0}:
        call.keep(flow[other], "reorders them")
    return [
        {d: labels.repeat_interleave(n) if d == dim else labels for d, labels in flow.items() if d in (dim, 0)}
        for _ in call.outputs
    ]
