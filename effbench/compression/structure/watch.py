"""A network run once while some of its modules are watched: how surgery sees what is connected with what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from effbench.compression.modes import evaluating

Before = Callable[[nn.Module, tuple[Any, ...]], None]
"""before(module, inputs), as a module is called."""
After = Callable[[nn.Module, tuple[Any, ...], Any], None]
"""after(module, inputs, output), as a module returns."""


@contextmanager
def hooked(
    modules: Iterable[nn.Module], /, *, before: Before | None = None, after: After | None = None
) -> Iterator[None]:
    """While entered, `before` and `after` are told of every call of the modules; then their hooks are gone.

    A module that stands in several places is watched once, and told of at each call. What they are given is the
    network's own: an in-place operation may change it later.
    """
    with ExitStack() as handles:
        for module in dict.fromkeys(modules):
            if before is not None:
                handles.callback(module.register_forward_pre_hook(before).remove)
            if after is not None:
                handles.callback(module.register_forward_hook(after).remove)
        yield


def run_once(network: nn.Module, images: Tensor, /) -> Any:
    """Return a network's outputs in evaluation mode, without gradients; its modes are as before.

    images: (N, ...), an input, moved to where the network's first parameter is.
    """
    with evaluating(network), torch.no_grad():
        return network(images.to(next(network.parameters()).device))


def output_of(network: nn.Module, path: str, images: Tensor, /) -> Tensor:
    """Return a copy of what the module at `path` gives for images when it is first called: (N, ...)."""
    outputs: list[Tensor] = []
    with hooked([network.get_submodule(path)], after=lambda _module, _inputs, output: outputs.append(output.clone())):
        run_once(network, images)
    return outputs[0]


def order_of_calls(network: nn.Module, paths: Iterable[str], images: Tensor, /) -> list[str]:
    """Return the paths of those modules that run, in the order in which they are first called."""
    names = {network.get_submodule(path): path for path in paths}
    order: list[str] = []
    with hooked(names, after=lambda module, _inputs, _output: order.append(names[module])):
        run_once(network, images)
    return list(dict.fromkeys(order))


@contextmanager
def fast_paths_off() -> Iterator[None]:
    """While entered, torch's transformer layers run their modules, not one operation that calls none of them."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def layers_from_outputs(
    outputs: list[Tensor], layer_of: dict[Any, nn.Module], called: list[nn.Module]
) -> list[nn.Module]:
    """Return the layers as they are met on the way from the outputs back, then those that are not met, the last first.

    layer_of: the layer whose output each `grad_fn` is that of; called: the layers in the order of their calls.
    """
    met: dict[nn.Module, None] = {}

    def note(function: Any) -> None:
        if function in layer_of:
            met.setdefault(layer_of[function])

    visited: set[Any] = set()
    for output in outputs:
        waiting = [output.grad_fn] if output.grad_fn is not None else []
        note(output.grad_fn)
        while waiting:
            function = waiting.pop()
            if function in visited:
                continue
            visited.add(function)
            for earlier, _ in function.next_functions:
                if earlier is not None:
                    note(earlier)
                    waiting.append(earlier)
    return [*met, *(layer for layer in reversed(called) if layer not in met)]
