"""How operations pass channels on: for each, where in its result the channels of its inputs are.

Everything here works on `Flow`: which dimensions of a tensor are channels, and the label of each place along these.
Most operations that move values about are followed by applying them to the numbers of the places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from effbench.compression.structure.channel_labels import Labels

Flow = Mapping[int, Tensor]
"""Of one tensor: for each dimension that is channels, the label of each place along it, (size,) int64."""
Follow = Callable[["Call"], list[dict[int, Tensor]]]
"""Returns the flows of the results of an operation."""


class Call:
    """One operation that runs: its inputs, its results and the channels in its inputs."""

    def __init__(
        self,
        function: Any,
        inputs: tuple[Sequence[Any], Mapping[str, Any]],
        output: Any,
        flow_of: Callable[[Tensor], Flow],
        labels: Labels,
        place: str,
    ) -> None:
        self.function, (self.args, self.kwargs), self.labels = function, inputs, labels
        self.tensors = [value for value in tree_flatten(inputs)[0] if isinstance(value, Tensor)]
        self.outputs = [value for value in tree_flatten(output)[0] if isinstance(value, Tensor)]
        self.flows = [flow_of(tensor) for tensor in self.tensors]
        self.name = function.name().partition("::")[2].partition(".")[0].rstrip("_")
        self.place = place

    @property
    def first(self) -> tuple[Tensor, Flow]:
        """The first input and its flow."""
        return self.tensors[0], self.flows[0]

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument of the operation by its place or name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def keep(self, labels: Tensor, what: str) -> None:
        """Let channels stay as the operation does something with them."""
        self.labels.keep(labels, f"{self.name}{self.place} {what}")

    def keep_all(self, what: str) -> None:
        """Let all channels that go in stay."""
        for flow in self.flows:
            for labels in flow.values():
                self.keep(labels, what)


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


def _moved(call: Call) -> list[dict[int, Tensor]]:
    """Values move as a whole: the operation itself says where the places go, which must keep their order."""

    def run(numbers: Tensor) -> Sequence[Tensor]:
        args, kwargs = tree_map(lambda value: numbers if value is call.tensors[0] else value, (call.args, call.kwargs))
        result = call.function(*args, **kwargs)
        return [result] if isinstance(result, Tensor) else list(result)

    return _by_numbers(call, run, reorder=call.name == "flip")


def _viewed(call: Call) -> list[dict[int, Tensor]]:
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


def _split(call: Call) -> list[dict[int, Tensor]]:
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


def _glu(call: Call) -> list[dict[int, Tensor]]:
    tensor, flow = call.first
    halved = dict(flow)
    dim = int(call.argument(1, "dim", -1)) % tensor.ndim
    if dim in flow:
        halved[dim], gates = flow[dim].chunk(2)
        call.labels.join(halved[dim], gates, "")
    return [halved]


def _concatenated(call: Call) -> list[dict[int, Tensor]]:
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


def _pixel_shuffle(call: Call) -> list[dict[int, Tensor]]:
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


def _repeated(n: int, dim_from_last: int, call: Call) -> list[dict[int, Tensor]]:
    """Each channel becomes n after each other."""
    tensor, flow = call.first
    dim = tensor.ndim - dim_from_last
    for other in set(flow) - {dim, 0}:
        call.keep(flow[other], "reorders them")
    return [
        {d: labels.repeat_interleave(n) if d == dim else labels for d, labels in flow.items() if d in (dim, 0)}
        for _ in call.outputs
    ]


_SPATIAL = re.compile(r"(?:pool|pad|upsample_\w*?)([123])d")

_RULES: dict[str, Follow] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias", "unflatten"), _viewed),
    **dict.fromkeys(
        ("permute", "transpose", "t", "squeeze", "unsqueeze", "expand", "select", "slice", "unbind"), _moved
    ),
    **dict.fromkeys(("flip", "roll", "index", "index_select", "unfold", "repeat", "diagonal", "narrow"), _moved),
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
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"), _split),
    "glu": _glu,
    "cat": _concatenated,
    "stack": _stacked,
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm"), _product),
    "native_layer_norm": _layer_norm,
    "constant_pad_nd": _over_places,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": lambda call: _repeated(int(call.args[1]) ** 2, 3, call),
    "im2col": lambda call: _repeated(int(call.args[1][0]) * int(call.args[1][1]), 3, call),
}
