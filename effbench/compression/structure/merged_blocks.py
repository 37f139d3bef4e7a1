"""A sequence of transformer blocks that merges tokens on the way: another way for the same blocks to run.

The blocks, their names and their weights stay where they are. What merges is the sequence, between the attention of a
block and its perceptron: a block is two halves, each of which adds what a chain of its modules makes to what it got.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from effbench.compression.attention_calls import AttentionCalls
from effbench.compression.structure.token_merging import MILLION, merge_tokens, schedule

_MOST_SPECIAL = 1000


@dataclass(frozen=True, kw_only=True)
class Merging:
    """How a sequence of blocks merges tokens."""

    share: int
    """Of the patch tokens that reach the last block, in millionths."""
    n_special: int
    """Tokens in front that are no patches: they stay."""
    proportional: bool
    """Whether attention counts a token as often as it stands for a patch (arXiv:2210.09461, equation 1)."""
    attention: tuple[str, ...]
    """The modules of a block that its first half consists of, one after the other: names of its children."""
    perceptron: tuple[str, ...]
    """Those of its second half."""

    @classmethod
    def from_widths(cls, widths: Sequence[int], children: Sequence[str], /) -> Merging:
        """Return what `widths` wrote, for blocks with these children. ValueError for what it can't have written."""
        share, n_special, proportional, n_first, *numbers = widths
        named = numbers[: numbers.index(0)] if 0 in numbers else numbers
        fits = 1 <= share <= MILLION and n_special <= _MOST_SPECIAL and proportional <= 1
        if not fits or not 1 <= n_first < len(named) or max(numbers) > len(children) or any(numbers[len(named) :]):
            raise ValueError(f"{tuple(widths)} is no way to merge the tokens of blocks of {len(children)} modules")
        names = tuple(children[number - 1] for number in named)
        return cls(
            share=share,
            n_special=n_special,
            proportional=bool(proportional),
            attention=names[:n_first],
            perceptron=names[n_first:],
        )

    def widths(self, children: Sequence[str], /) -> tuple[int, ...]:
        """Return it as numbers: `n_widths` of them, whatever the halves are."""
        names = (*self.attention, *self.perceptron)
        numbers = [1 + children.index(name) for name in names]
        padding = [0] * (2 * len(children) - len(numbers))
        return (self.share, self.n_special, int(self.proportional), len(self.attention), *numbers, *padding)

    @staticmethod
    def n_widths(children: Sequence[str], /) -> int:
        """Return how many numbers it is: a module can stand in both halves, as a dropout does."""
        return 4 + 2 * len(children)


class MergedBlocks(nn.Module):
    """What `MergedSequence` and `MergedList` have in common."""

    merging: Merging
    block_children: tuple[str, ...]
    """The names of a block's children, in their order, as they were when it was first merged."""
    is_merging: bool
    """Whether it merges now: see `merging_off`."""

    def run(self, tokens: Tensor, /) -> Tensor:
        """Return what the blocks make of tokens, (N, T, C); of fewer patches when they are through."""
        merging, blocks = self.merging, live_blocks(self)
        n_patches = tokens.shape[1] - merging.n_special
        sizes: Tensor | None = None
        for block, n_left in zip(blocks, schedule(n_patches, merging.share, len(blocks)), strict=True):
            with KeysOf(sizes if merging.proportional else None) as attention:
                tokens = tokens + run_chain(block, merging.attention, tokens)
            n_merged = tokens.shape[1] - merging.n_special - n_left
            if n_merged:
                if sizes is None:
                    sizes = torch.ones_like(tokens[..., :1], dtype=torch.float32)
                tokens, sizes = merge_tokens(
                    tokens, sizes, attention.only_keys, n_merged=n_merged, n_special=merging.n_special
                )
            tokens = tokens + run_chain(block, merging.perceptron, tokens)
        return tokens


class MergedSequence(MergedBlocks, nn.Sequential):
    """An `nn.Sequential` of blocks."""

    def __iter__(self) -> Iterator[nn.Module]:
        """Yield what is to be called where a network calls one block after the other."""
        return iter((self,)) if self.is_merging else super().__iter__()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what the blocks make of tokens, (N, T, C)."""
        outcome: Tensor = self.run(tokens) if self.is_merging else super().forward(tokens)  # type: ignore[no-untyped-call]
        return outcome


class MergedList(MergedBlocks, nn.ModuleList):
    """An `nn.ModuleList` of blocks. Whoever calls one after the other finds a single one, that runs all."""

    def __iter__(self) -> Iterator[nn.Module]:
        """Yield what is to be called."""
        return iter((self,)) if self.is_merging else super().__iter__()

    def forward(self, tokens: Tensor, *_: object, **__: object) -> Tensor:
        """Return what the blocks make of tokens, (N, T, C); what else they are given is nothing: see `token_blocks`."""
        return self.run(tokens)


MERGED: dict[type[nn.Module], type[MergedBlocks]] = {
    nn.Sequential: MergedSequence,
    nn.ModuleList: MergedList,
}
"""What becomes of a sequence of blocks."""


class KeysOf(AttentionCalls):
    """While entered, the keys of attention are noted, and its scores grow by the logarithm of the tokens' sizes.

    sizes: (N, T, 1), or None.
    """

    def __init__(self, sizes: Tensor | None) -> None:
        super().__init__()
        self._sizes = sizes
        self.keys: list[Tensor] = []
        self.masked = False

    @property
    def only_keys(self) -> Tensor:
        """The keys of the only attention there was, (N, heads, T, head features)."""
        (keys,) = self.keys
        return keys

    def attend(self, function: Any, arguments: dict[str, Any], /) -> Tensor:
        """Compute attention."""
        self.keys.append(arguments["key"])
        self.masked |= arguments.get("attn_mask") is not None or bool(arguments.get("is_causal"))
        if self._sizes is None:
            outcome: Tensor = function(**arguments)
            return outcome
        bias = self._sizes.log().transpose(1, 2).unsqueeze(1).to(arguments["query"].dtype)  # (N, 1, 1, T)
        mixed: Tensor = function(**{**arguments, "attn_mask": bias})
        # The exporter for ONNX takes attention apart, after which its output lies otherwise in memory than was seen.
        return mixed.clone(memory_format=torch.contiguous_format) if torch.compiler.is_exporting() else mixed


def run_chain(block: nn.Module, names: Sequence[str], tokens: Tensor, /) -> Tensor:
    """Return what modules of a block make of tokens, one after the other."""
    for name in names:
        module = block.get_submodule(name)
        if isinstance(module, nn.MultiheadAttention):
            outcome = module(tokens, tokens, tokens, need_weights=False)
        else:
            outcome = module(tokens)
        tokens = outcome[0] if isinstance(outcome, tuple) else outcome
    return tokens


def live_blocks(blocks: nn.Module, /) -> list[nn.Module]:
    """Return the blocks of a sequence, without those that were removed."""
    return [block for block in blocks._modules.values() if block is not None and not isinstance(block, nn.Identity)]


def children_of_blocks(blocks: nn.Module, /) -> tuple[str, ...] | None:
    """Return the names of the children that each block of a sequence has; None where that is no sequence of blocks."""
    if isinstance(blocks, MergedBlocks):
        return blocks.block_children
    names = {tuple(block._modules) for block in live_blocks(blocks)} if type(blocks) in MERGED else set()
    return next(iter(names)) if len(names) == 1 and all(names) else None


def set_merging(blocks: nn.Module, merging: Merging, /) -> None:
    """Let a sequence of blocks, in place, merge tokens; one that does already, otherwise. ValueError for another."""
    children = children_of_blocks(blocks)
    if children is None or not {*merging.attention, *merging.perceptron} <= {*children}:
        raise ValueError(f"a {type(blocks).__name__} is no sequence of blocks of these modules, whose tokens merge")
    if not isinstance(blocks, MergedBlocks):
        blocks.__class__ = MERGED[type(blocks)]
    assert isinstance(blocks, MergedBlocks)
    blocks.merging, blocks.block_children, blocks.is_merging = merging, children, True


@contextmanager
def merging_off(network: nn.Module, /) -> Iterator[None]:
    """While entered, no tokens of a network are merged: its blocks are called one by one, as the network wrote it."""
    merged = [module for module in network.modules() if isinstance(module, MergedBlocks)]
    before = [module.is_merging for module in merged]
    try:
        for module in merged:
            module.is_merging = False
        yield
    finally:
        for module, was_merging in zip(merged, before, strict=True):
            module.is_merging = was_merging
