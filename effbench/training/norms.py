"""Statistics of normalisations, and biases, made to fit weights that have been changed: on images, without labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from effbench.compression.layers import weight_layers
from effbench.compression.modes import evaluating

IMAGES_AT_ONCE = 100


def norms_of(network: nn.Module, /) -> list[_NormBase]:
    """Return the normalisations that have running statistics and count their batches, each once."""
    return [
        module
        for module in network.modules()
        if isinstance(module, _NormBase) and module.running_mean is not None and module.num_batches_tracked is not None
    ]


def reestimate_norms(network: nn.Module, batches: Iterable[Tensor], /, *, device: torch.device) -> int:
    """Put the statistics of the network's own outputs into its batch norms, in place; return into how many.

    Each has the mean over batches of mean and variance, seen while the network runs with each batch's own statistics
    (Sun et al. 2019, arXiv:1908.04348, section 3.1, for a network whose weights were rounded); everything else is in
    evaluation mode. batches: images, (n, channels, side, side) each, of about the same size. A norm that is never
    reached keeps what it has; one value a channel (a single image, of one pixel there) says nothing of a variance: such
    a batch is left out.
    """
    norms = norms_of(network)
    if not norms:
        return 0
    network.to(device)
    with evaluating(network), _averaging(norms), torch.no_grad():
        for images in batches:
            if len(images) > 1:
                network(images.to(device))
    network.to("cpu")
    return len(norms)


@contextmanager
def _averaging(norms: list[_NormBase]) -> Iterator[None]:
    """While entered, norms average over batches from nothing on; one that saw none has its former statistics again."""
    former = [
        (norm.momentum, norm.running_mean.clone(), norm.running_var.clone(), norm.num_batches_tracked.clone())
        for norm in norms
        if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    ]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.training = True
    try:
        yield
    finally:
        for norm, (momentum, mean, variance, n_batches) in zip(norms, former, strict=True):
            if not norm.num_batches_tracked:
                norm.running_mean, norm.running_var = mean, variance
            norm.momentum, norm.num_batches_tracked = momentum, n_batches


def correct_biases(network: nn.Module, reference: nn.Module, images: Tensor, /, *, device: torch.device) -> None:
    """Shift biases, in place, so that the mean output of their layers is what it is in the reference.

    As far as the network's rounding has moved it (Nagel et al. 2019, arXiv:1906.04721, section 4.2, from data): layer
    after layer in one pass, each given what the corrected ones before it put out. They are convolutions and linear
    layers with a bias of their own, under no constraint. images: (n, channels, side, side).
    """
    names = _with_own_bias(network)
    wanted: dict[str, Tensor] = {}

    def note(name: str, output: Tensor) -> None:
        wanted.setdefault(name, _channel_means(reference.get_submodule(name), output))

    def correct(name: str, output: Tensor) -> Tensor | None:
        if name not in wanted:
            return None
        layer = network.get_submodule(name)
        shift = wanted.pop(name) - _channel_means(layer, output)
        layer.bias.add_(shift)  # type: ignore[operator]
        return output + shift.reshape(-1, *[1] * (output.ndim - 2)) if _is_convolution(layer) else output + shift

    for model, seen in ((reference, note), (network, correct)):
        model.to(device)
        handles = [
            model.get_submodule(name).register_forward_hook(
                lambda _module, _args, output, name=name, seen=seen: seen(name, output)
            )
            for name in names
        ]
        try:
            with evaluating(model), torch.no_grad():
                model(images.to(device))
        finally:
            for handle in handles:
                handle.remove()
            model.to("cpu")


def _with_own_bias(network: nn.Module) -> list[str]:
    """Return the names of the layers whose bias can be shifted, and is no other's."""
    biases = Counter(
        id(parameter)
        for module in network.modules()
        for parameter in module._parameters.values()
        if parameter is not None
    )
    return [
        name
        for name, layer in weight_layers(network)
        if layer._parameters.get("bias") is not None and biases[id(layer._parameters["bias"])] == 1
    ]


def _is_convolution(layer: Any) -> bool:
    return bool(layer.weight.ndim > 2)


def _channel_means(layer: nn.Module, output: Tensor) -> Tensor:
    channels = output.movedim(1, -1) if _is_convolution(layer) else output
    return channels.reshape(-1, channels.shape[-1]).double().mean(0).to(output.dtype)
