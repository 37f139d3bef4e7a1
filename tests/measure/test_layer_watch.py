"""What layers give: outputs of modules that contain none, and of weights that are used without a call."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from effbench.measure.compute import count_cost, counted_by
from effbench.measure.layer_watch import LayerWatch


def given(model, size):
    _, watch = counted_by(LayerWatch, model, size)
    return {name: found.elements for name, found in watch.given.items() if found.elements}


def test_modules_give_what_is_new():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),  # 2 x 4 x 4
        nn.ReLU(inplace=True),  # nothing: in place
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.MaxPool2d(2),  # 2 x 2 x 2
        nn.Dropout(),  # nothing: in evaluation it gives what it takes
        nn.Flatten(),  # nothing: a view
        nn.Identity(),
        nn.Linear(8, 3),
    )
    assert given(model, (1, 4, 4)) == {"0": 32, "2": 32, "3": 32, "4": 8, "8": 3}


def test_a_module_that_is_called_twice_gives_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(self.fc(x)) + x  # the sum is no layer

    assert given(Twice(), (4,)) == {"fc": 8}


def test_weights_that_are_used_without_a_call():
    class Borrowing(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.own = nn.Linear(4, 3), nn.Parameter(torch.ones(2, 3))

        def forward(self, x):
            return functional.linear(functional.linear(x, self.fc.weight, self.fc.bias), self.own)

    _, watch = counted_by(LayerWatch, Borrowing(), (4,))
    assert {name: found.elements for name, found in watch.given.items()} == {"fc": 3, "": 2}
    assert watch.operations["fc"] == "addmm"
    assert [name for name, is_product in watch.order if not is_product] == ["", "fc"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_and_shapes(dtype):
    _, watch = counted_by(LayerWatch, nn.Conv2d(1, 2, 1).to(dtype), (1, 5, 3))
    found = watch.given[""]
    assert (found.shape, found.n_bytes) == ((2, 5, 3), 30 * dtype.itemsize)


def test_a_recurrent_layer_gives_all_its_tensors():
    assert given(nn.LSTM(3, 4, batch_first=True), (5, 3)) == {"": 5 * 4 + 2 * 4}


def test_counting_is_that_of_a_tally():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    cost, _ = counted_by(LayerWatch, model, (5, 8))
    assert cost == count_cost(model, (5, 8))
    assert cost.by_layer.equals(count_cost(model, (5, 8)).by_layer)


def test_what_a_first_attempt_noted_is_forgotten():
    _, watch = counted_by(LayerWatch, nn.Linear(2, 2), (2,))
    example = torch.empty(1, 2, device="meta")
    watch.begin(example)
    assert not watch.given and not watch.order and not watch.products(of_attention=False) and not watch.projections
