"""Weights from a file, fitted to a network: only the classifier may differ, and only in its number of classes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from effbench.checks.errors import kind_and_line
from effbench.compression.layers import weight_layers

N_NAMED = 3
"""How many tensors an error names."""


def read_state_dict(path: str | Path, /) -> dict[str, Tensor]:
    """Read a state_dict that torch.save wrote, without running any code that the file may hold.

    ValueError, in one line, if there is no such file, or it holds anything but tensors by name.
    """
    if not Path(path).is_file():
        raise ValueError(f'weights must be "none", "default" or an existing file; there is no file {str(path)!r}')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of an unusual pickle: what matters is whether it can be read
            content = torch.load(path, map_location="cpu", weights_only=True)
    # A damaged or hostile file can fail in any way; whichever it is, the user's answer is the same.
    except Exception as error:
        raise ValueError(
            f"{path} can't be read as weights (a state_dict of torch.save): {kind_and_line(error)}"
        ) from error
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} must hold a state_dict (tensors by name), found {type(content).__name__}")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(
                f"{path} must hold a state_dict (tensors by name), found {name!r}: {type(tensor).__name__}; "
                "save model.state_dict() itself"
            )
    return dict(content)


def load_fitting(network: nn.Module, state: Mapping[str, Tensor], /, *, origin: str) -> None:
    """Load `state` into `network`; a classifier for another number of classes keeps its fresh values.

    The classifier is the last convolution or linear layer: its tensors may differ in their first dimension, the
    number of classes. ValueError, naming a few tensors and `origin`, if anything else differs, is missing or unknown.
    """
    own = network.state_dict()
    *_, (classifier, _layer) = weight_layers(network)
    differing = [name for name, tensor in state.items() if name in own and tensor.shape != own[name].shape]
    refitted = {
        name for name in differing if name.rpartition(".")[0] == classifier and _same_but_first(state, own, name)
    }
    problems = [f"{n} is {_size(state[n])}, not {_size(own[n])}" for n in differing if n not in refitted]
    if not problems:
        fitting = {name: tensor for name, tensor in state.items() if name not in refitted}
        try:
            outcome = network.load_state_dict(fitting, strict=False)
        except RuntimeError as error:
            raise ValueError(f"{origin} does not fit {type(network).__name__}: {kind_and_line(error)}") from error
        problems = [f"{name} is missing" for name in outcome.missing_keys if name not in refitted]
        problems += [f"{name} is unknown" for name in outcome.unexpected_keys]
    if problems:
        more = f" and {len(problems) - N_NAMED} more" if len(problems) > N_NAMED else ""
        raise ValueError(f"{origin} does not fit {type(network).__name__}: {', '.join(problems[:N_NAMED])}{more}")


def _same_but_first(state: Mapping[str, Tensor], own: Mapping[str, Tensor], name: str) -> bool:
    """Whether a tensor differs in nothing but its first dimension."""
    return state[name].ndim == own[name].ndim > 0 and state[name].shape[1:] == own[name].shape[1:]


def _size(tensor: Tensor) -> str:
    """Write a shape as 64×3×3×3."""
    return "×".join(map(str, tensor.shape)) or "a scalar"
