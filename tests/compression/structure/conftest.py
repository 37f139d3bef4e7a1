"""What several tests of surgery share: one operation, followed."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from effbench.compression.structure.calls import Call
from effbench.compression.structure.channel_labels import Labels
from effbench.compression.structure.operations import follow


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
