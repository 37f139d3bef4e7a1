"""What several tests of surgery share: a network that all edits fit, with its edits, and one operation, followed."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from effbench.compression.structure.calls import Call
from effbench.compression.structure.channel_labels import Labels
from effbench.compression.structure.edits import Edit, EditKind
from effbench.compression.structure.operations import follow
from effbench.compression.structure.rebuild import apply_edits


def build_network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1, stride=2),
            nn.BatchNorm2d(8),
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 12, 1, bias=False)),
            nn.Conv2d(12, 12, 3, padding=1, groups=3),
            nn.ConvTranspose2d(12, 6, 2),
            nn.PReLU(6),
            nn.Flatten(),
            nn.Linear(6 * 25, 10),
        )


def tensor_shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


EDITS = {
    "0": Edit(EditKind.RESIZED, (2, 4, 1)),
    "1": Edit(EditKind.RESIZED, (4,)),
    "2.0": Edit(EditKind.RESIZED, (4, 4, 4)),
    "2.1": Edit(EditKind.SVD, (4, 2, 9)),
    "3": Edit(EditKind.RESIZED, (9, 9, 3)),
    "4": Edit(EditKind.RESIZED, (9, 5, 1)),
    "5": Edit(EditKind.RESIZED, (5,)),
    "7": Edit(EditKind.SVD, (125, 3, 10)),
}


@pytest.fixture
def network():
    """A function of a seed: the network before its edits."""
    return build_network


@pytest.fixture
def shapes():
    """A function of a network: the shape of each tensor in its state."""
    return tensor_shapes


@pytest.fixture
def edits():
    return dict(EDITS)


@pytest.fixture
def edited(edits):
    model = build_network()
    apply_edits(model, edits)
    return model


@pytest.fixture(scope="session")
def run():
    """Return what runs one operation and follows channels through it."""

    def run(function, *args, channels=((0, 1),), **named):
        """Return the labels that went in, the flows that come out, and all labels; channels: (tensor, dimension)."""
        labels = Labels()
        tensors = [value for value in tree_leaves(args) if isinstance(value, torch.Tensor)]
        flows = {}
        for number, dim in channels:
            flows.setdefault(id(tensors[number]), {})[dim] = labels.new(tensors[number].shape[dim])
        given = [flows[id(tensors[number])][dim] for number, dim in channels]
        call = Call(function, (args, named), function(*args, **named), lambda t: flows.get(id(t), {}), labels, "")
        return given, follow(call), labels

    return run
