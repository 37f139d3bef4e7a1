"""What the weights of recurrent layers are multiplied with: their inputs, and their states one step before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

SEQUENCES = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
CELLS = (torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell)
Factor = tuple[Tensor, Tensor]
"""A weight, and what it is multiplied with, (..., columns)."""


def recurrent_factors(function: Callable[..., Any], args: Sequence[Any], /) -> Iterator[Factor]:
    """Yield the factors of one call of a recurrent operation of torch (`SEQUENCES`, `CELLS`), of its matrices.

    Sequences run once more, layer by layer, so that what is between the layers is seen, without dropout. Of packed
    sequences nothing is, nor is the matrix of an LSTM that projects its states.
    """
    if function in CELLS:
        inputs, states, input_weight, state_weight = args[:4]
        yield input_weight, inputs
        yield state_weight, _first(states)
    elif isinstance(args[3], bool):  # a packed sequence has its weights there
        yield from _of_layers(function, *args)


def _of_layers(
    function: Callable[..., Any],
    inputs: Tensor,
    states: Any,
    weights: Sequence[Tensor],
    has_biases: bool,
    n_layers: int,
    _dropout: float,
    _training: bool,
    is_bidirectional: bool,
    batch_first: bool,
) -> Iterator[Factor]:
    n_directions = 2 if is_bidirectional else 1
    n_each = len(weights) // (n_layers * n_directions)
    for layer in range(n_layers):
        here = slice(layer * n_directions, (layer + 1) * n_directions)
        began = tuple(state[here] for state in states) if isinstance(states, list | tuple) else states[here]
        own = [
            weights[(layer * n_directions + d) * n_each : (layer * n_directions + d + 1) * n_each]
            for d in range(n_directions)
        ]
        flat = [tensor for of_direction in own for tensor in of_direction]
        outputs = function(inputs, began, flat, has_biases, 1, 0.0, False, is_bidirectional, batch_first)[0]
        time = 1 if batch_first else 0
        for direction, (of_direction, gone) in enumerate(zip(own, outputs.chunk(n_directions, dim=-1), strict=True)):
            # The last state is multiplied with nothing; backwards it is the first.
            gone = gone.narrow(time, direction, gone.shape[time] - 1)
            first = _first(began)[direction]
            yield of_direction[0], inputs
            yield of_direction[1], torch.cat([gone.flatten(0, -2), first.reshape(-1, first.shape[-1])])
        inputs = outputs


def _first(states: Any) -> Tensor:
    """Return the hidden states; of an LSTM's two kinds those that come out."""
    first = states[0] if isinstance(states, list | tuple) else states
    assert isinstance(first, Tensor)
    return first
