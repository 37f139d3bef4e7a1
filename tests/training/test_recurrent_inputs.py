"""That what recurrent layers multiply is what a step-by-step run of them multiplies."""

import pytest
import torch
from torch import nn

from effbench.compression.layers import weights_of
from effbench.training.input_moments import input_norms

CPU = torch.device("cpu")
STATES = 4


class Stepwise(nn.Module):
    """Runs one direction of a recurrent layer by cells, and keeps what each matrix is given."""

    def __init__(self, layer, number, suffix):
        super().__init__()
        kind = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}[type(layer)]
        n_in = getattr(layer, f"weight_ih_l{number}{suffix}").shape[1]
        self.cell, self.inputs, self.states = kind(n_in, STATES), [], []
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(self.cell, name, getattr(layer, f"{name}_l{number}{suffix}"))

    def forward(self, steps):
        state, outputs = None, []
        for step in steps:
            hidden = torch.zeros(len(step), STATES) if state is None else state[0]
            self.inputs.append(step)
            self.states.append(hidden)
            if isinstance(self.cell, nn.LSTMCell):
                state = self.cell(step, state)
            else:
                state = (self.cell(step, None if state is None else state[0]),)
            outputs.append(state[0])
        return outputs


def norm_of(values):
    return torch.cat(values).square().sum(0).sqrt()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_sequences_show_inputs_and_earlier_states_of_every_layer_and_direction(kind, n_layers, bidirectional):
    torch.manual_seed(0)
    layer = kind(
        3, STATES, n_layers, batch_first=True, bidirectional=bidirectional, dropout=0.5 * (n_layers > 1)
    ).eval()
    images = torch.randn(6, 5, 3)
    norms = input_norms(layer, weights_of(layer), images.split(2), device=CPU)
    steps = list(images.unbind(1))
    with torch.no_grad():
        for number in range(n_layers):
            forwards = Stepwise(layer, number, "")
            outputs = forwards(steps)
            directions = {"": forwards}
            if bidirectional:
                directions["_reverse"] = Stepwise(layer, number, "_reverse")
                backwards = directions["_reverse"](steps[::-1])[::-1]
                outputs = [torch.cat(pair, dim=1) for pair in zip(outputs, backwards, strict=True)]
            for suffix, run in directions.items():
                for name, values in (("ih", run.inputs), ("hh", run.states)):
                    found = norms[f"weight_{name}_l{number}{suffix}"]
                    assert torch.allclose(found, norm_of(values).expand_as(found), atol=1e-5)
            steps = outputs


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_show_what_they_are_given(kind):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = kind(3, STATES)

        def forward(self, images):
            state = self.cell(images)
            return self.cell(images, state)

    network, images = Twice(), torch.randn(5, 3)
    norms = input_norms(network, weights_of(network), [images], device=CPU)
    with torch.no_grad():
        state = network.cell(images)
    hidden = state[0] if isinstance(state, tuple) else state
    assert torch.allclose(norms["cell.weight_ih"], norm_of([images, images]).expand(len(norms["cell.weight_ih"]), -1))
    assert torch.allclose(norms["cell.weight_hh"], norm_of([hidden]).expand(len(norms["cell.weight_hh"]), -1))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_of_packed_sequences_nothing_is_seen(kind):
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = kind(3, STATES, batch_first=True)

        def forward(self, images):
            lengths = torch.full((len(images),), 4)
            return self.layer(nn.utils.rnn.pack_padded_sequence(images, lengths, batch_first=True))[0].data

    network = Packed()
    assert input_norms(network, weights_of(network), [torch.randn(2, 5, 3)], device=CPU) == {}
