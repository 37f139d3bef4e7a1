"""Token merging: a vision transformer goes on with fewer tokens from block to block, and computes less."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import floor
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.compression.constraints.copies import copy_network
from effbench.compression.duplicate import duplicate
from effbench.compression.structure.edits import merge_blocks
from effbench.compression.structure.merged_blocks import Merging
from effbench.compression.structure.token_blocks import TokenBlocks, find_token_blocks
from effbench.compression.structure.token_merging import MILLION, schedule
from effbench.compression.structure.watch import hooked, run_once
from effbench.plan.context import Context
from effbench.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class MergeTokens(Stage):
    """Merge the tokens that are most alike, some in each block but the last (Bolya et al. 2022, arXiv:2210.09461).

    For vision transformers whose tokens are one plain sequence: torchvision's ViT, timm's, transformers', small_vit and
    others whose blocks add attention, then a perceptron, to their tokens, through `F.scaled_dot_product_attention` or
    `nn.MultiheadAttention`. Merged are tokens of patches, between attention and perceptron, by the keys of the
    attention (`structure.token_merging`); a class token and registers stay. Fewer tokens are computed, in the run's
    file and by engines as well; finding what to merge has multiply-adds of its own, which count. How many go is fixed
    by the size of the image, a share of its patches, also where it is evaluated at another size.

    Nothing is trained here. Where a recipe finetunes after this stage, it trains with merged tokens. It acts on no
    weights.
    """

    VERSION: ClassVar[int] = 1

    tokens: Annotated[float, Field(gt=0, le=1)]
    """Share of the patch tokens that reach the last block; their number falls on a line from block to block, faster at
    first where it would more than halve at once. Taken to six digits."""
    proportional: bool = True
    """Whether attention counts a token as often as the patches that it stands for (equation 1)."""

    def value_after(self, position: int, n_rounds: int) -> float:
        """Return the share that is left after a round."""
        return float(self.tokens ** (position / n_rounds))

    def at_round(self, position: int, n_rounds: int) -> MergeTokens:
        """Return the stage for one of `n_rounds`: each leaves the same share of what the one before has left."""
        return dataclasses.replace(self, tokens=self.value_after(position, n_rounds))

    def for_network(self, network: nn.Module, images: Tensor, /) -> MergeTokens:
        """Return the stage. ValueError for a network whose tokens can't be merged, or not so far."""
        if self.tokens < 1:
            self._merged(copy_network(network), images)
        return self

    def apply(self, model: nn.Module, context: Context, /) -> nn.Module:
        """Return a copy of `model` that merges tokens. ValueError, with its name, where it has none that can be."""
        if self.tokens == 1:
            return duplicate(model)
        merged, n_tokens = self._merged(copy_network(model), context.example())
        context.findings.say(f"patches/{context.step}", ", ".join(map(str, n_tokens)))
        return merged

    def _merged(self, network: nn.Module, images: Tensor) -> tuple[nn.Module, list[int]]:
        """Let a network merge tokens, in place; return it, and how many patches go into the blocks and leave each."""
        try:
            found = find_token_blocks(network, images)
            merging = Merging(
                share=max(1, round(self.tokens * MILLION)),
                n_special=found.n_special,
                proportional=self.proportional,
                attention=found.attention,
                perceptron=found.perceptron,
            )
            self._check_share(found, merging)
            blocks = network.get_submodule(found.path)
            merge_blocks(blocks, merging)
            calls: list[None] = []
            try:
                with hooked([blocks], after=lambda *_: calls.append(None)):
                    run_once(network, images)
            except Exception as error:
                raise ValueError(f"it does not run with fewer of them ({kind_and_line(error)})") from error
            if len(calls) != 1:
                raise ValueError(f"it takes the blocks out of {found.path} by their numbers, and merges none of them")
        except ValueError as error:
            raise ValueError(f"{type(network).__name__} can't merge tokens: {error}") from error
        return network, [found.n_patches, *schedule(found.n_patches, merging.share, found.n_blocks)]

    def _check_share(self, found: TokenBlocks, merging: Merging) -> None:
        """Refuse a share that the blocks can't come to: each merges half of its tokens at most."""
        left = schedule(found.n_patches, merging.share, found.n_blocks)[-1]
        if left > max(1, floor(found.n_patches * self.tokens + 0.5)):
            least = schedule(found.n_patches, 1, found.n_blocks)[-1]
            raise ValueError(
                f"its {found.n_blocks} blocks can leave no fewer than {least} of its {found.n_patches} patches, as "
                "each merges half of them at most"
            )
