"""Which of a network's k × k convolutions can be rewritten, and why others can't: seen while it runs once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from effbench.compression.constraints.described import describe
from effbench.compression.constraints.layer_inputs import InputConstraint
from effbench.compression.constraints.stack import originals
from effbench.compression.layers import parameter_names
from effbench.compression.structure.edits import has_added_bias, places
from effbench.compression.structure.rewritten import Norm, can_rewrite
from effbench.compression.structure.watch import hooked, run_once

FIRST = "it reads the network's input"


@dataclass(frozen=True)
class Convolutions:
    """The k × k convolutions of a network, k > 1, by their paths; a shared one by its first."""

    layers: dict[str, nn.Module]
    """Those that can be rewritten."""
    kept: dict[str, str]
    """The others, each with the reason why not."""
    norms: dict[nn.Module, Norm]
    """By convolution, the batch norm that takes its output, as it is called."""

    def norm_of(self, layer: nn.Module, /) -> Norm | None:
        """Return the settings of a batch norm inside what replaces a layer; None where the network has no such habit.

        They are those of the batch norm that takes the layer's output, or of the first that takes a convolution's. A
        network that normalises what its convolutions give has every convolution normalised, as MobileNet has the
        depthwise ones (Howard et al. 2017, arXiv:1704.04861, section 3.2, figure 3); another gets none, which would
        behave otherwise in training than in evaluation where nothing else does.
        """
        return self.norms.get(layer) or next(iter(self.norms.values()), None)


def find_convolutions(network: nn.Module, images: Tensor, /, *, first: bool = False) -> Convolutions:
    """Return which convolutions can be rewritten; the network runs once, and nothing is changed.

    first: whether those that read the network's input can, too: else they stay, as they do in both papers (Howard et
    al. 2017, arXiv:1704.04861, section 3.2; Zhang et al. 2017, arXiv:1707.01083, table 1): an image has few channels,
    and all features come through them. images: (N, C, H, W), an input.
    """
    convolutions = {
        module: path
        for path, module in reversed(list(places(network)))
        if isinstance(module, _ConvNd) and prod(module.kernel_size) > 1
    }
    seen = _Seen(images)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    layers = [module for module in network.modules() if isinstance(module, _ConvNd)]
    with hooked(layers, before=seen.convolution_runs, after=seen.convolution_ran), hooked(norms, before=seen.norm_runs):
        run_once(network, images)
    reasons = _Reasons(network, seen, first=first)
    found = Convolutions({}, {}, seen.norms)
    for layer, path in reversed(list(convolutions.items())):
        reason = next(reasons.of(layer, path), None)
        if reason is None:
            found.layers[path] = layer
        else:
            found.kept[path] = reason
    return found


class _Seen:
    """What is seen of convolutions while a network runs."""

    def __init__(self, images: Tensor) -> None:
        self._images = images
        self._outputs: dict[int, tuple[nn.Module, Tensor]] = {}
        """Layer and output, by the output's id: it is kept, so that no other gets this id."""
        self.called: dict[nn.Module, None] = {}
        self.first: set[nn.Module] = set()
        """Those that are given the input itself, and the one that runs first."""
        self.norms: dict[nn.Module, Norm] = {}

    def convolution_runs(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note whether a convolution reads the network's input."""
        storages = [value.untyped_storage()._cdata for value in inputs if isinstance(value, Tensor)]
        if not self.called or self._images.untyped_storage()._cdata in storages:
            self.first.add(layer)
        self.called.setdefault(layer)

    def convolution_ran(self, layer: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        """Remember a convolution's output."""
        self._outputs[id(output)] = (layer, output)

    def norm_runs(self, norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note which convolution's output a batch norm is given."""
        if inputs and id(inputs[0]) in self._outputs:
            self.norms.setdefault(self._outputs[id(inputs[0])][0], Norm.like(norm))


class _Reasons:
    """Why convolutions can't be rewritten."""

    def __init__(self, network: nn.Module, seen: _Seen, *, first: bool) -> None:
        self._seen, self._first = seen, first
        self._own = {found["module"] for found in describe(network) if found.get("kind") == "own"}
        self._uses = Counter(
            id(tensor)
            for path, module in network.named_modules()
            if "parametrizations" not in path.split(".")
            for name in parameter_names(module)
            for tensor in originals(module, name)
        )

    def of(self, layer: nn.Module, path: str) -> Iterator[str]:
        """Yield the reasons why a convolution stays; none for one that can be rewritten."""
        assert isinstance(layer, _ConvNd)
        if layer.transposed:
            yield "it is transposed"
        if layer.groups > 1:
            yield "it has groups already"
        if not path:
            yield "it is the network"
        if not can_rewrite(layer) or "forward" in vars(layer):
            yield f"a {type(layer).__name__} computes in a way of its own"
        if path in self._own:
            yield "its weight is made of other tensors"
        if has_added_bias(layer):
            yield "a batch norm was folded into it"
        if "weight" not in parameter_names(layer) or any(self._uses[id(t)] > 1 for t in originals(layer, "weight")):
            yield "its weight stands elsewhere, too, or is no parameter"
        if not any(tensor.requires_grad for tensor in originals(layer, "weight")):
            yield "it is frozen: what would replace it could not be trained"
        if any(not isinstance(hook, InputConstraint) for hook in _hooks(layer)):
            yield "it has a hook"
        if layer not in self._seen.called:
            yield "the forward pass does not call it"
        if layer in self._seen.first and not self._first:
            yield FIRST


def _hooks(layer: nn.Module) -> list[Any]:
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return [hook for known in hooks for hook in known.values()]
