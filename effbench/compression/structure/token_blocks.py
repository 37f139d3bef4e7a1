"""Where a network has a plain sequence of tokens, and how its blocks treat it: seen in forward passes, not by names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from effbench.checks.errors import kind_and_line
from effbench.compression.duplicate import duplicate
from effbench.compression.modes import evaluating
from effbench.compression.structure.edits import places
from effbench.compression.structure.merged_blocks import (
    KeysOf,
    children_of_blocks,
    live_blocks,
    merging_off,
    run_chain,
)
from effbench.compression.structure.watch import fast_paths_off, hooked


@dataclass(frozen=True, kw_only=True)
class TokenBlocks:
    """The sequence of transformer blocks of a network."""

    path: str
    n_blocks: int
    n_patches: int
    n_special: int
    """Tokens in front that are the same for every image: a class token, registers."""
    attention: tuple[str, ...]
    """The modules of a block's first half, by the names of its children, see `merged_blocks.Merging`."""
    perceptron: tuple[str, ...]
    """Those of its second half."""


def find_token_blocks(network: nn.Module, images: Tensor, /) -> TokenBlocks:
    """Return the blocks through which the tokens of a network go; it is left alone.

    images: two different ones, (2, C, H, W). A block adds to tokens, (N, T, C), what a chain of its modules with one
    attention makes of them, then what a second chain makes: that is tried, in training mode, too, and has to give the
    block's own bits. ValueError, without the network's name, where there is no such sequence, or several.
    """
    double = duplicate(network)
    with merging_off(double), evaluating(double), torch.no_grad(), fast_paths_off():
        calls = _calls_of_blocks(double, images)
        if not calls:
            raise ValueError(
                "it has no sequence of blocks that take tokens alone, (images, tokens, features), and give such, as "
                "vision transformers have (vit_b_16, small_vit)"
            )
        if len(calls) > 1:
            raise ValueError(
                f"it has several sequences of blocks ({', '.join(calls)}): its tokens are no plain sequence"
            )
        ((path, inputs),) = calls.items()
        blocks = double.get_submodule(path)
        halves = {_halves(block, tokens) for block, tokens in zip(live_blocks(blocks), inputs, strict=True)}
        if len(halves) > 1:
            raise ValueError(f"the blocks of {path} are not all of one kind")
        ((attention, perceptron),) = halves
        n_special = _n_special(double, path, images)
    return TokenBlocks(
        path=path,
        n_blocks=len(inputs),
        n_patches=inputs[0].shape[1] - n_special,
        n_special=n_special,
        attention=attention,
        perceptron=perceptron,
    )


def _calls_of_blocks(network: nn.Module, images: Tensor) -> dict[str, list[Tensor]]:
    """Return for each sequence of blocks, by its path, the tokens that each of its blocks is given, copied."""
    found = {path: blocks for path, blocks in places(network) if path and children_of_blocks(blocks) is not None}
    found = {path: blocks for path, blocks in found.items() if len(live_blocks(blocks)) > 1}
    calls: dict[nn.Module, list[Tensor | None]] = {}

    def note(block: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        given = [value for value in tree_leaves((inputs, named)) if isinstance(value, Tensor)]
        alone = len(given) == 1 and given[0] is inputs[0] if inputs else False
        plain = alone and given[0].ndim == 3 and isinstance(output, Tensor) and output.shape == given[0].shape
        calls.setdefault(block, []).append(given[0].clone() if plain else None)

    with ExitStack() as hooks:
        for block in dict.fromkeys(block for blocks in found.values() for block in live_blocks(blocks)):
            hooks.callback(block.register_forward_hook(note, with_kwargs=True).remove)
        network(images)
    tokens_of: dict[str, list[Tensor]] = {}
    for path, blocks in found.items():
        tokens = [calls[block][0] for block in live_blocks(blocks) if len(calls.get(block, ())) == 1]
        given = [one for one in tokens if one is not None]
        if len(given) == len(live_blocks(blocks)) and len({one.shape for one in given}) == 1:
            tokens_of[path] = given
    return tokens_of


def _halves(block: nn.Module, tokens: Tensor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the two chains of children that a block adds to its tokens. ValueError where it is none of two such."""
    kind = type(block).__name__
    names = {child: name for name, child in block._modules.items() if child is not None}
    called: list[tuple[str, Any, Any]] = []

    def note(child: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        called.append((names[child], inputs[0] if inputs else None, output[0] if isinstance(output, tuple) else output))

    with hooked(names, after=note):
        block(tokens)
    begins = [number for number, ((_, _, before), (_, given, _)) in enumerate(pairwise(called)) if given is not before]
    if len(begins) != 1:
        raise ValueError(
            f"a block ({kind}) does not consist of two chains of modules, each added to the tokens it is given"
        )
    chain = [name for name, _, _ in called]
    first, second = tuple(chain[: begins[0] + 1]), tuple(chain[begins[0] + 1 :])
    attentions = _attentions(block, first, tokens)
    if attentions != [True] or _attentions(block, second, tokens):
        raise ValueError(
            f"a block ({kind}) has no attention in its first half alone that calls F.scaled_dot_product_attention"
        )
    if not _gives_its_bits(block, first, second, tokens):
        raise ValueError(f"a block ({kind}) does more than to add what two chains of its modules make of the tokens")
    return first, second


def _attentions(block: nn.Module, names: Sequence[str], tokens: Tensor) -> list[bool]:
    """Return for each attention in a chain whether it is one over all tokens, without a mask."""
    with KeysOf(None) as seen:
        try:
            run_chain(block, names, tokens)
        except Exception as error:
            raise ValueError(
                f"a {type(block).__name__} does not run as chains of its modules ({kind_and_line(error)})"
            ) from error
    n_images, n_tokens = tokens.shape[:2]
    whole = [keys.ndim == 4 and (keys.shape[0], keys.shape[2]) == (n_images, n_tokens) for keys in seen.keys]
    return [fits and not seen.masked for fits in whole]


def _gives_its_bits(block: nn.Module, first: Sequence[str], second: Sequence[str], tokens: Tensor) -> bool:
    """Whether two chains are all that a block does, in evaluation and (with equal random numbers) in training."""
    for training in (False, True):
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=[]))
            trial = duplicate(block).train(training)
            torch.manual_seed(0)
            expected = trial(tokens.clone())
            trial = duplicate(block).train(training)
            torch.manual_seed(0)
            half = tokens + run_chain(trial, first, tokens.clone())
            if not torch.equal(expected, half + run_chain(trial, second, half.clone())):
                return False
    return True


def _n_special(network: nn.Module, path: str, images: Tensor) -> int:
    """Return how many tokens in front are equal for two images of noise: those of patches are not."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator).to(images.device, images.dtype)
    tokens: list[Tensor] = []
    first = live_blocks(network.get_submodule(path))[0]
    with hooked([first], after=lambda _block, inputs, _output: tokens.append(inputs[0])):
        network(noise)
    equal = (tokens[0][0] == tokens[0][1]).all(-1)
    n_special = int(equal.sum())
    if n_special == len(equal) or not bool(equal[:n_special].all()):
        raise ValueError("its tokens are not some that every image has, then one for each patch of the image")
    return n_special
