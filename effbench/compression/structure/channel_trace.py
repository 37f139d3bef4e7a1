"""A network's forward pass, followed: which layers make, pass on and read which channels.

The network runs once. Layers that can be resized say what they do with channels; every other operation is followed as
it runs (`operations`), whoever wrote it, and where that can't be done the channels stay, for a reason that names the
operation and the module. Each operation is looked at once: the effort grows with the network's, whatever its form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from effbench.compression.layers import is_depthwise
from effbench.compression.structure.calls import Call, Flow
from effbench.compression.structure.channel_labels import Labels
from effbench.compression.structure.factorized import Factored
from effbench.compression.structure.known_layers import MAKERS, OperationsOfLayers, channel_dim, is_known
from effbench.compression.structure.operations import follow
from effbench.compression.structure.shuffled_channels import shuffles_replaced
from effbench.compression.structure.watch import fast_paths_off, layers_from_outputs


@dataclass
class TracedLayer:
    """What a layer does with channels: the label of each of its places, (n,) int64; None where it does not."""

    layer: nn.Module
    name: str
    makes: Tensor | None = None
    passes: Tensor | None = None
    reads: Tensor | None = None


@dataclass(frozen=True)
class Crossing:
    """A channel shuffle: the labels before it, by place, and new ones after it, by place."""

    before: Tensor
    after: Tensor
    groups: int | None


@dataclass
class Trace:
    """What is known of a network's channels after it has run."""

    labels: Labels = field(default_factory=Labels)
    layers: dict[nn.Module, TracedLayer] = field(default_factory=dict)
    """In the order in which they were first called."""
    crossings: list[Crossing] = field(default_factory=list)
    from_outputs: list[nn.Module] = field(default_factory=list)
    """The layers in the order in which they are met from the network's outputs back."""


OUTPUTS = "they are the network's outputs"
SINGLE = "it is a single one"
UNSEEN = "its forward pass does not call it"


def trace(network: nn.Module, images: Tensor, /) -> Trace:
    """Run a network, in the mode it is in and with gradients, and follow its channels. images: (N, ...), an input."""
    tracer = _Tracer(network)
    with ExitStack() as stack:
        stack.enter_context(shuffles_replaced(network, tracer.shuffled))
        stack.enter_context(fast_paths_off())
        for name, module in network.named_modules():
            stack.enter_context(tracer.watching(name, module))
        stack.enter_context(OperationsOfLayers(network, tracer.operation))
        stack.enter_context(tracer)
        outputs = network(images)
    tensors = [value for value in tree_leaves(outputs) if isinstance(value, Tensor)]
    for tensor in tensors:
        tracer.keep(tensor, OUTPUTS)
    tracer.keep_shared(network)
    tracer.trace.from_outputs = layers_from_outputs(tensors, tracer.layer_of, list(tracer.trace.layers))
    return tracer.trace


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the flow of every tensor that there is while the network runs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self.layer_of: dict[Any, nn.Module] = {}
        self._flows = WeakIdKeyDictionary()
        self._running: list[str] = []
        self._n_inside = 0
        self._kinds = {name: type(module).__name__ for name, module in network.named_modules()}
        self._parameters = {id(parameter): name for name, parameter in network.named_parameters()}
        self._used: dict[int, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and follow the channels through it unless a known layer runs it."""
        output = func(*args, **(kwargs or {}))
        if not self._n_inside:
            call = Call(func, (args, kwargs or {}), output, self.flow_of, self.trace.labels, self._place())
            for tensor in call.tensors:
                if id(tensor) in self._parameters:
                    self._used.setdefault(id(tensor), f"{call.name}{call.place}")
            if any(call.flows):
                for out, flow in zip(call.outputs, follow(call), strict=True):
                    self._set(out, flow)
        return output

    def flow_of(self, tensor: Tensor) -> Flow:
        """Return which dimensions of a tensor are channels, and their labels."""
        flow: Flow | None = self._flows.get(tensor)  # type: ignore[no-untyped-call]
        return flow or {}

    def keep(self, tensor: Tensor, reason: str) -> None:
        """Let all channels of a tensor stay."""
        for labels in self.flow_of(tensor).values():
            self.trace.labels.keep(labels, reason)

    def _set(self, tensor: Tensor, flow: Flow) -> None:
        for labels in flow.values():
            if len(labels) == 1:
                self.trace.labels.keep(labels, SINGLE)
        self._flows[tensor] = {dim: labels for dim, labels in flow.items() if len(labels) > 1}

    def _place(self) -> str:
        name = self._running[-1] if self._running else ""
        return f" in {name} ({self._kinds[name]})" if name else ""

    @contextmanager
    def watching(self, name: str, module: nn.Module) -> Iterator[None]:
        """While entered, a module's calls are known; a layer that can be resized is followed as a whole."""
        known = is_known(module)
        given: list[Tensor | None] = []

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._running.append(name)
            if known:
                self._n_inside += 1
                tensor = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
                flow = self.flow_of(tensor) if tensor is not None else {}
                given.append(tensor)
                pending.append(flow)

        pending: list[Flow] = []

        def after(_module: nn.Module, _args: Any, output: Any) -> None:
            self._running.pop()
            if known:
                self._n_inside -= 1
                tensor, flow = given.pop(), pending.pop()
                if tensor is not None and not self._n_inside:
                    self._pass_layer(name, module, tensor, flow, output)

        handles = [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def operation(self, name: str, layer: nn.Module, given: Tensor, run: Callable[[], Tensor]) -> Tensor:
        """Run the operation that a layer comes to, and follow it as the layer."""
        flow = self.flow_of(given)
        self._n_inside += 1
        output = run()
        self._n_inside -= 1
        if not self._n_inside:
            self._pass_layer(name, layer, given, flow, output)
        return output

    def _pass_layer(self, name: str, layer: nn.Module, given: Tensor, flow: Flow, output: Tensor) -> None:
        """Note what a layer does with the channels of its input, and where those of its output are."""
        record = self.trace.layers.setdefault(layer, TracedLayer(layer, name))
        self.layer_of.setdefault(output.grad_fn, layer)
        dim, labels = channel_dim(layer, given), self.trace.labels
        for other in set(flow) - {dim}:
            if isinstance(layer, nn.Linear | nn.LayerNorm | nn.PReLU):
                continue
            labels.keep(flow[other], f"{name} ({type(layer).__name__}) takes them together")
        others = {
            d: own for d, own in flow.items() if d != dim and isinstance(layer, nn.Linear | nn.LayerNorm | nn.PReLU)
        }
        read = flow.get(dim, torch.zeros(given.shape[dim], dtype=torch.int64))
        if isinstance(layer, MAKERS) and not is_depthwise(layer):
            groups = getattr(layer, "groups", 1)
            record.reads = self._joined(record.reads, read, name)
            if record.makes is None:
                record.makes = labels.new(output.shape[dim])
                labels.tie(record.makes.reshape(groups, -1).T)
            if groups > 1:
                labels.tie(read.reshape(groups, -1).T)
            self._set(output, {**others, dim: record.makes})
            return
        if isinstance(layer, nn.PReLU) and layer.num_parameters == 1:
            self._set(output, flow)
            return
        record.passes = self._joined(record.passes, read, name)
        if isinstance(layer, nn.GroupNorm) and layer.num_groups < layer.num_channels:
            labels.tie(read.reshape(layer.num_groups, -1).T)
        self._set(output, {**others, dim: read} if dim in flow else others)

    def _joined(self, before: Tensor | None, now: Tensor, name: str) -> Tensor:
        """Return the labels at a layer's places, joined with those of an earlier call."""
        if before is None:
            return now
        self.trace.labels.join(before, now, f"{name} is called with other tensors, too")
        return torch.where(before == 0, now, before)

    def shuffled(self, images: Tensor, groups: int | None) -> Tensor:
        """Follow a channel shuffle, which returns its input."""
        passed = images.view(images.shape)
        flow = dict(self.flow_of(images))
        if 1 in flow:
            after = self.trace.labels.new(len(flow[1]))
            self.trace.crossings.append(Crossing(flow[1], after, groups))
            flow[1] = after
        self._set(passed, flow)
        return passed

    def keep_shared(self, network: nn.Module) -> None:
        """Let the channels of layers stay whose parameters are used elsewhere, too, or that are parts of a chain."""
        owners: dict[int, list[str]] = {}
        for name, module in network.named_modules():
            for own, parameter in module._parameters.items():
                if parameter is not None:
                    owners.setdefault(id(parameter), []).append(f"{name}.{own}" if name else own)
        for layer, record in self.trace.layers.items():
            reasons = []
            for own, parameter in layer._parameters.items():
                others = [name for name in owners.get(id(parameter), []) if name != f"{record.name}.{own}"]
                if others:
                    reasons.append(f"{record.name}.{own} is {others[0]}, too")
                elif id(parameter) in self._used:
                    reasons.append(f"{record.name}.{own} is used by {self._used[id(parameter)]}, too")
            if reasons:
                for labels in (record.makes, record.passes, record.reads):
                    if labels is not None:
                        self.trace.labels.keep(labels, reasons[0])
        for chain in network.modules():
            for layer in list(chain)[:-1] if isinstance(chain, Factored) else ():
                inner = self.trace.layers.get(layer)
                if inner is not None and inner.makes is not None:
                    self.trace.labels.keep(inner.makes, OUTPUTS)
