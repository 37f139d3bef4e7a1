"""Which networks can be trained in channels_last: torch's kernels write past their memory for some convolutions.

Of torch 2.14.1 on a processor with AVX-512 these are 1 x 1 convolutions with a stride of 2, transposed ones as well,
that have few channels on the side of the larger images, from 56 pixels on: the process ends with a double free or a
segmentation fault, sooner or later. Whether it does is tried in a child, which is all that then ends.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Layout = Literal["channels_last", "contiguous"]

MEMORY_FORMATS: dict[Layout, torch.memory_format] = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}
LEAST_SIDE = 48
"""The side in pixels below which no such convolution was seen to fail."""
CRASHES = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, getattr(signal, "SIGBUS", None)})
"""The signals by which a process ends that a library broke."""
_ARGUMENTS: dict[Any, tuple[str, ...]] = {
    torch.conv2d: ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    torch.conv_transpose2d: ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
}
_WRONG_GRADIENT = 3
_SECONDS = 120


@dataclass(frozen=True, order=True)
class StridedPointwise:
    """A 1 x 1 convolution with a stride, and the images that it meets."""

    in_channels: int
    out_channels: int
    height: int
    width: int
    stride: tuple[int, int]
    output_padding: tuple[int, int] = (0, 0)
    transposed: bool = False

    def __str__(self) -> str:
        """Say what it is: "1 x 1 convolution with a stride from 8 to 16 channels on 64 x 64 pixels"."""
        kind = "transposed 1 x 1 convolution" if self.transposed else "1 x 1 convolution"
        channels = f"from {self.in_channels} to {self.out_channels} channels"
        return f"{kind} with a stride {channels} on {self.height} x {self.width} pixels"


class WatchStridedPointwise(TorchFunctionMode):
    """While it is entered, `found` collects the strided 1 x 1 convolutions that meet `LEAST_SIDE` pixels or more."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[StridedPointwise] = set()

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run an operation, and note it where it is such a convolution."""
        outcome = func(*args, **(kwargs or {}))
        if func in _ARGUMENTS and isinstance(outcome, Tensor):
            given = {**dict(zip(_ARGUMENTS[func], args, strict=False)), **(kwargs or {})}
            self._note(given, outcome, transposed=func is torch.conv_transpose2d)
        return outcome

    def _note(self, given: Mapping[str, Any], outcome: Tensor, *, transposed: bool) -> None:
        images, weight, stride = given["input"], given["weight"], _pair(given.get("stride", 1))
        largest = max(*images.shape[-2:], *outcome.shape[-2:])
        if set(weight.shape[2:]) != {1} or max(stride) < 2 or given.get("groups", 1) != 1 or largest < LEAST_SIDE:
            return
        n_out, n_in = (weight.shape[1], weight.shape[0]) if transposed else weight.shape[:2]
        height, width = images.shape[-2:]
        padding = _pair(given.get("output_padding", 0))
        self.found.add(StridedPointwise(n_in, n_out, height, width, stride, padding, transposed))


def set_layout(model: nn.Module, layout: Layout, /) -> None:
    """Give a network's images and filters a layout, in place; tensors of other dimensions have none to choose."""
    memory_format = MEMORY_FORMATS[layout]
    model._apply(lambda tensor: tensor.to(memory_format=memory_format) if tensor.ndim == 4 else tensor)  # type: ignore[no-untyped-call]


def fails_in_channels_last(layer: StridedPointwise, /) -> bool:
    """Whether the backward pass of such a layer ends the process, or is wrong, in channels_last: tried in a child.

    What writes past its memory need not fail each time, nor at each size: larger images and other batches are tried,
    too. A child that could not be run, or that was short of memory, says nothing.
    """
    command = [sys.executable, "-c", _TRIAL, json.dumps(asdict(layer))]
    try:
        finished = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:  # a broken heap can hang as well
        return True
    except OSError:
        return False
    return -finished.returncode in CRASHES or finished.returncode == _WRONG_GRADIENT


def _pair(sizes: Any) -> tuple[int, int]:
    return (sizes, sizes) if isinstance(sizes, int) else (int(sizes[0]), int(sizes[-1]))


_TRIAL = """
import json, sys
import torch
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
torch.set_num_threads(1)
layer = json.loads(sys.argv[1])
n_in, n_out, transposed = layer["in_channels"], layer["out_channels"], layer["transposed"]
torch.manual_seed(0)
weight, bias = torch.randn((n_in, n_out, 1, 1) if transposed else (n_out, n_in, 1, 1)), torch.zeros(n_out)
sides = (32, 64) if transposed else (64, 128)
for height, width in {(layer["height"], layer["width"]), *((side, side) for side in sides)}:
    for n in (1, 2, 16):
        if n * height * width * max(n_in, n_out) > 2**22:
            continue
        images, gradients = torch.randn(n, n_in, height, width), []
        for layout in (torch.contiguous_format, torch.channels_last):
            for _ in range(3):
                given = [t.detach().clone().requires_grad_() for t in (images, weight, bias)]
                out = torch.convolution(
                    *(t.to(memory_format=layout) if t.ndim == 4 else t for t in given), layer["stride"], [0, 0], [1, 1],
                    transposed, layer["output_padding"], 1,
                )
                out.square().sum().backward()
            gradients.append([t.grad for t in given])
        if not all(torch.allclose(one, other, rtol=1e-3, atol=1e-1) for one, other in zip(*gradients)):
            sys.exit(3)
"""
