"""A small vision transformer: patches, blocks of attention and perceptrons, a mean over the tokens."""

from __future__ import annotations

import math
from collections import OrderedDict
from itertools import pairwise
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effbench.models.arguments import require_choice, require_positive_integers, require_width, scaled_width
from effbench.models.attention import SelfAttention

VERSION = 1  # bumped when equal options build another network

Stem = Literal["convolutional", "patches"]


def small_vit(
    *,
    alpha: float = 1.0,
    patch: int = 4,
    depth: int = 3,
    heads: int = 4,
    width: int = 64,
    mlp_ratio: float = 4.0,
    stem: str = "convolutional",
    num_classes: int = 10,
    in_channels: int = 1,
    input_side: int = 28,
) -> VisionTransformer:
    """Build a small vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929). Input (N, in_channels, H, W).

    The classifier reads the mean of the tokens: on small networks that does better than a class token (Beyer et al.
    2022, arXiv:2205.01580), and every token is then one of a patch. Norms stand before attention and perceptron.

    Parameters
    ----------
    alpha
        Width multiplier: tokens have heads × max(1, floor(alpha × width / heads + ½)) numbers, so that heads divide it.
    patch
        Side in pixels of what a token is made of at first; a power of two with the convolutional stem.
    depth
        Blocks.
    heads
        Attention heads in each block.
    width
        Numbers of each token at alpha = 1.
    mlp_ratio
        Hidden units of each block's perceptron, over the width.
    stem
        "convolutional": log2(patch) convolutions of 3 × 3 and stride 2, with batch norm and ReLU between them (Xiao et
        al. 2021, arXiv:2106.14881), which on few images is worth points of accuracy. "patches": one convolution over
        patches that don't overlap, as in the first paper.
    input_side
        Decides how many tokens have a place in the position table. For images of another size the table is interpolated
        (section 3.2).

    Raises
    ------
    ValueError
        Where an argument is out of range, and where the patches don't fit the image.

    Examples
    --------
    >>> small_vit(alpha=0.5, depth=2)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    require_width(alpha)
    require_width(mlp_ratio, name="mlp_ratio")
    require_positive_integers(patch=patch, depth=depth, heads=heads, width=width)
    require_positive_integers(num_classes=num_classes, in_channels=in_channels, input_side=input_side)
    if width % heads:
        raise ValueError(f"heads must divide the width ({width}), got {heads}")
    require_choice(stem, get_args(Stem), name="stem")
    n_features = heads * scaled_width(width // heads, alpha)
    if stem == "convolutional":
        embedding, grid = _convolutional(in_channels, n_features, patch), math.ceil(input_side / patch)
    else:
        embedding, grid = _patches(in_channels, n_features, patch, input_side), input_side // patch
    blocks = [Block(n_features, heads, scaled_width(n_features, mlp_ratio)) for _ in range(depth)]
    return VisionTransformer(embedding, grid, blocks, nn.Linear(n_features, num_classes))


def _convolutional(in_channels: int, n_features: int, patch: int) -> nn.Sequential:
    """Build a stem that halves the side (rounding up) log2(patch) times, and doubles the channels as often."""
    n_layers = patch.bit_length() - 1
    if patch != 2**n_layers or n_layers == 0:
        raise ValueError(f"patch must be 2, 4, 8, … with stem=convolutional, got {patch}; stem=patches takes any")
    widths = [in_channels, *(max(1, n_features >> n_left) for n_left in reversed(range(n_layers)))]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (n_in, n_out) in enumerate(pairwise(widths), start=1):
        layers[f"conv{number}"] = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False)
        layers[f"norm{number}"] = nn.BatchNorm2d(n_out)
        if number < n_layers:
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


def _patches(in_channels: int, n_features: int, patch: int, input_side: int) -> nn.Sequential:
    if input_side % patch:
        raise ValueError(
            f"patch must divide the side of the images ({input_side}) with stem=patches, got {patch}; "
            "stem=convolutional takes any side"
        )
    return nn.Sequential(OrderedDict(conv1=nn.Conv2d(in_channels, n_features, patch, stride=patch)))


class Block(nn.Module):
    """Attention, then a perceptron for each token; each is added to what it was given. (N, tokens, n_features)."""

    def __init__(self, n_features: int, heads: int, n_hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(n_features)
        self.attention = SelfAttention(n_features, heads)
        self.norm2 = nn.LayerNorm(n_features)
        self.mlp = nn.Sequential(
            OrderedDict(hidden=nn.Linear(n_features, n_hidden), gelu=nn.GELU(), output=nn.Linear(n_hidden, n_features))
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens after the block, (N, tokens, n_features)."""
        tokens = tokens + self.attention(self.norm1(tokens))
        mixed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return mixed


class VisionTransformer(nn.Module):
    """A stem, a position table, blocks, a last norm, the mean of the tokens and a classifier."""

    def __init__(self, stem: nn.Module, grid: int, blocks: list[Block], classifier: nn.Linear) -> None:
        super().__init__()
        self.stem = stem
        self.grid = grid
        self.position_table = nn.Parameter(torch.empty(1, grid * grid, classifier.in_features))
        nn.init.trunc_normal_(self.position_table, std=0.02)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(classifier.in_features)
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes), of images, (N, C, H, W)."""
        maps = self.stem(images)
        tokens = maps.flatten(2).transpose(1, 2) + self._positions(maps.shape[-2], maps.shape[-1])
        logits: Tensor = self.classifier(self.norm(self.blocks(tokens)).mean(dim=1))
        return logits

    def _positions(self, height: int, width: int) -> Tensor:
        """Return the position table for a map of tokens, (1, height × width, n_features)."""
        if (height, width) == (self.grid, self.grid):
            return self.position_table
        table = self.position_table.transpose(1, 2).reshape(1, -1, self.grid, self.grid)
        return F.interpolate(table, (height, width), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
