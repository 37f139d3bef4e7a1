"""Attention of torch and torchvision by a forward that takes any number of heads and calls its linear layers.

`nn.MultiheadAttention` and torchvision's shifted windows hand their weights to one function, which takes heads × the
numbers of a head for the width of the tokens: it can't run with fewer heads. Here they compute the same from the
layers' own sizes, and what watches their projection as a layer sees it, in evaluation mode as well.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def call_layers(attention: nn.Module, /) -> None:
    """Let an attention layer run by a forward of this file, in place, where its own can't run with fewer heads."""
    kind: Any = type(attention)
    if isinstance(attention, CallingAttention):
        return
    if kind is nn.MultiheadAttention:
        attention.__class__ = CallingAttention
        # Else torch's encoder layers take its weights, past its forward, in evaluation mode.
        setattr(attention, "_qkv_same_embed_dim", False)  # noqa: B010 - known to torch as a tensor or a module
    elif is_windowed(attention) and not hasattr(kind, "calls_layers"):
        attention.__class__ = _calling_windows(kind)


def is_windowed(module: nn.Module, /) -> bool:
    """Whether a module is the attention of torchvision's Swin (Liu et al. 2021, arXiv:2103.14030; V2: 2111.09883)."""
    swin = sys.modules.get("torchvision.models.swin_transformer")  # not imported for networks that have none
    return swin is not None and isinstance(module, swin.ShiftedWindowAttention)


class CallingAttention(nn.MultiheadAttention):
    """Torch's attention, with its own tensors and options; without biases of keys and values, or zero attention."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output and, where asked for, the weights of attention: as torch's, shapes included.

        is_causal only says what attn_mask is, as in torch's.
        """
        is_batched, tensors = query.dim() == 3, [query, key, value]
        tensors = [tensor if is_batched else tensor.unsqueeze(1 - self.batch_first) for tensor in tensors]
        if not self.batch_first:
            tensors = [tensor.transpose(0, 1) for tensor in tensors]
        # (N, tokens, heads × head_dim) to (N, heads, tokens, head_dim)
        queries, keys, values = (
            part.reshape(*part.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)
            for part in self._queries_keys_values(tensors, is_self=query is key and key is value)
        )
        mask = _joined_mask(attn_mask, key_padding_mask, queries, keys)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = queries @ keys.transpose(-2, -1) / math.sqrt(self.head_dim)
            weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
            mixed = weights @ values
        else:
            mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)
        output: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        output = output if self.batch_first else output.transpose(0, 1)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if is_batched:
            return output, weights
        return output.squeeze(1 - self.batch_first), None if weights is None else weights.squeeze(0)

    def _queries_keys_values(self, tensors: Sequence[Tensor], *, is_self: bool) -> Sequence[Tensor]:
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if is_self:
            return F.linear(tensors[0], weight, bias).chunk(3, dim=-1)
        biases: Sequence[Tensor | None] = [None] * 3 if bias is None else bias.chunk(3)
        return [F.linear(*of_part) for of_part in zip(tensors, weight.chunk(3), biases, strict=True)]


def _joined_mask(attention: Tensor | None, padding: Tensor | None, queries: Tensor, keys: Tensor) -> Tensor | None:
    """Return what is added to the scores, for all masks, (N or 1, heads or 1, queries, keys); None without one."""
    joined: Tensor | None = None
    if attention is not None:
        joined = _added(attention, queries)
        if joined.dim() == 3:  # (N × heads, queries, keys)
            joined = joined.reshape(len(queries), -1, *joined.shape[1:])
    if padding is not None:
        of_keys = _added(padding, queries).reshape(-1, 1, 1, keys.shape[2])
        joined = of_keys if joined is None else joined + of_keys
    return joined


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask as numbers to add: where it is boolean, True is what is left out."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, -math.inf)


@functools.cache
def _calling_windows(kind: Any) -> type[nn.Module]:
    """Return the class of torchvision's windowed attention with another forward; its position bias is its own."""
    return type(kind.__name__, (kind,), {"forward": _attend_within_windows, "calls_layers": True})


def _attend_within_windows(self: Any, images: Tensor) -> Tensor:
    """Return what each place takes from its window, (N, H, W, C). images: (N, H, W, C).

    The map is padded to whole windows and, where it has several, rolled by the shift: what comes together in a window
    from both ends of the map does not attend to each other.
    """
    window, (n, height, width, _) = self.window_size, images.shape
    padded = F.pad(images, (0, 0, 0, -width % window[1], 0, -height % window[0]))
    extent = padded.shape[1:3]
    shifts = [0 if side >= size else shift for side, size, shift in zip(window, extent, self.shift_size, strict=True)]
    rolled = padded.roll([-shift for shift in shifts], dims=(1, 2)) if any(shifts) else padded
    tokens = _windows(rolled, window)
    queries, keys, values = _split(self, tokens)
    scores = _scores(self, queries, keys) + self.get_relative_position_bias()
    if any(shifts):
        apart = _apart(extent, window, shifts, images)
        scores = (scores.unflatten(0, (n, -1)) + apart[:, None]).flatten(0, 1)
    weights = F.dropout(scores.softmax(-1), self.attention_dropout, training=self.training)
    mixed = self.proj((weights @ values).transpose(1, 2).flatten(2))
    mixed = F.dropout(mixed, self.dropout, training=self.training)
    rows, columns = (size // side for size, side in zip(extent, window, strict=True))
    maps = mixed.reshape(n, rows, columns, *window, -1).transpose(2, 3).reshape(n, *extent, -1)
    maps = maps.roll(shifts, dims=(1, 2)) if any(shifts) else maps
    return maps[:, :height, :width].contiguous()


def _windows(maps: Tensor, window: Sequence[int]) -> Tensor:
    """Return (N × windows, places, C) of maps, (N, H, W, C), whose sides are whole windows."""
    n, height, width, n_channels = maps.shape
    parts = maps.reshape(n, height // window[0], window[0], width // window[1], window[1], n_channels)
    return parts.transpose(2, 3).reshape(-1, window[0] * window[1], n_channels)


def _split(attention: Any, tokens: Tensor) -> tuple[Tensor, ...]:
    """Return queries, keys and values, (windows, heads, places, head_dim) each."""
    if hasattr(attention, "logit_scale") and attention.qkv.bias is not None:
        # Keys have no bias in V2, though its layer has one.
        queries, keys, values = attention.qkv.bias.chunk(3)
        bias = torch.cat([queries, torch.zeros_like(keys), values])
        made = F.linear(tokens, attention.qkv.weight, bias)
    else:
        made = attention.qkv(tokens)
    return made.reshape(*tokens.shape[:2], 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def _scores(attention: Any, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the products of queries and keys, (windows, heads, places, places), scaled as the version does."""
    if hasattr(attention, "logit_scale"):
        scale: Tensor = attention.logit_scale.clamp(max=math.log(100.0)).exp()
        return F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).transpose(-2, -1) * scale
    return (queries * float(queries.shape[-1] ** -0.5)) @ keys.transpose(-2, -1)


def _apart(extent: Sequence[int], window: Sequence[int], shifts: Sequence[int], like: Tensor) -> Tensor:
    """Return what is added to scores, (windows, places, places): -100 between places that only the shift has joined."""
    bands = [
        (torch.arange(size, device=like.device) >= size - shift).long()
        + (torch.arange(size, device=like.device) >= size - side)
        if shift
        else torch.zeros(size, dtype=torch.int64, device=like.device)
        for size, side, shift in zip(extent, window, shifts, strict=True)
    ]
    regions = (3 * bands[0][:, None] + bands[1])[None, :, :, None]
    labels = _windows(regions, window)[..., 0]
    differ = labels[:, None, :] != labels[:, :, None]
    return torch.zeros(differ.shape, dtype=like.dtype, device=like.device).masked_fill(differ, -100.0)
