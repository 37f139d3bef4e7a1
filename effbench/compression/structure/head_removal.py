"""Attention heads removed, physically; what can't lose them stays whole, and is named.

What is known of a layer's form is checked here: with fewer heads the network must compute what it computed while the
projection read nothing of those that went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from effbench.checks.errors import kind_and_line
from effbench.compression.duplicate import duplicate
from effbench.compression.structure.attention_heads import Heads, find_heads, keep_heads, looks_like_attention
from effbench.compression.structure.channels import differ
from effbench.compression.structure.edits import mark_edited
from effbench.compression.structure.merged_blocks import merging_off
from effbench.compression.structure.watch import fast_paths_off, hooked, run_once

_UNKNOWN = "its form is none of those that are known"


def attention_layers(network: nn.Module, /) -> tuple[dict[str, Heads], dict[str, str]]:
    """Return the heads of the attention layers, by path, each once, and why others that look like some are none."""
    found: dict[str, Heads] = {}
    others: dict[str, str] = {}
    for path, module in network.named_modules():
        heads = find_heads(module)
        if heads is not None and path:
            found[path] = heads
        elif looks_like_attention(module) and path:
            others[path] = f"{type(module).__name__}: {_UNKNOWN}"
    # A layer that holds another one is only called as that: the heads are the inner one's.
    others = {path: why for path, why in others.items() if not any(name.startswith(f"{path}.") for name in found)}
    return found, others


def remove_heads(network: nn.Module, images: Tensor, going: Mapping[str, Tensor], /) -> dict[str, str]:
    """Remove heads of attention layers, in place; return by path why some stay whole.

    images: (N, C, H, W), an input. going: by path, the numbers of the heads that go, int64; at least one head stays.
    Layers that the network fails without, or computes something else, are left as they are.
    """
    going = {path: heads for path, heads in going.items() if len(heads)}
    refused: dict[str, str] = {}
    if _find_refusal(network, images, going) is not None:
        refusals = {path: _find_refusal(network, images, {path: heads}) for path, heads in going.items()}
        refused = {path: why for path, why in refusals.items() if why is not None}
        together = {path: heads for path, heads in going.items() if path not in refused}
        why = _find_refusal(network, images, together) if refused or together else None
        refused |= dict.fromkeys(together if why is not None else (), why or "")
    _remove(network, {path: heads for path, heads in going.items() if path not in refused})
    return refused


def _remove(network: nn.Module, going: Mapping[str, Tensor]) -> None:
    for path, heads, going_here in _at(network, going):
        kept = torch.ones(heads.n, dtype=torch.bool)
        kept[going_here] = False
        assert bool(kept.any()), f"{path} keeps at least one head"
        keep_heads(heads, torch.nonzero(kept).flatten())
        mark_edited(heads.attention)


def _at(network: nn.Module, going: Mapping[str, Tensor]) -> list[tuple[str, Heads, Tensor]]:
    found = [(path, find_heads(network.get_submodule(path)), heads) for path, heads in going.items()]
    return [(path, heads, going_here) for path, heads, going_here in found if heads is not None]


def _find_refusal(network: nn.Module, images: Tensor, going: Mapping[str, Tensor]) -> str | None:
    """Return why heads can't be removed, None where they can; the network is left as it was."""
    silent, smaller = duplicate(network), duplicate(network)
    for _, heads, going_here in _at(silent, going):
        reads = heads.reads
        with torch.no_grad():
            reads.owner._parameters[reads.name].index_fill_(1, heads.places(reads, going_here), 0.0)  # type: ignore[union-attr]
    _remove(smaller, going)
    expected = _outputs(silent, going, images)
    try:
        outputs = _outputs(smaller, going, images)
    except Exception as error:
        return f"its forward pass names the number of heads it was written for ({kind_and_line(error)})"
    if [_shapes(values) for values in outputs] != [_shapes(values) for values in expected]:
        return "without them its outputs have another shape"
    if any(differ(*pair) for pair in zip(outputs, expected, strict=True)):
        return "without them it computes something else than with zeros in their place"
    return None


def _outputs(network: nn.Module, paths: Iterable[str], images: Tensor) -> list[Any]:
    """Return what the modules at the paths give, call by call, and then the network, whose sum may hide them.

    No tokens are merged meanwhile: which ones are depends on the mean over the heads.
    """
    outputs: list[Any] = []
    watched = [network.get_submodule(path) for path in paths]
    noted = hooked(watched, after=lambda _module, _inputs, output: outputs.append(output))
    with merging_off(network), fast_paths_off(), noted:
        last = run_once(network, images)
    return [*outputs, last]


def _shapes(values: Any) -> list[tuple[int, ...]]:
    return [tuple(value.shape) for value in tree_leaves(values) if isinstance(value, Tensor)]
