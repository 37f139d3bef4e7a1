import torch

from effbench.compression.structure.calls import Call
from effbench.compression.structure.channel_labels import Labels


def test_a_call_knows_its_tensors_their_channels_and_its_name():
    labels, images, others = Labels(), torch.zeros(2, 3), torch.zeros(2, 4)
    own = labels.new(3)
    args = ([images, others], 1)
    call = Call(
        torch.ops.aten.cat.default,
        (args, {}),
        torch.cat(*args),
        lambda tensor: {1: own} if tensor is images else {},
        labels,
        " in stem (Stem)",
    )
    assert call.name == "cat"
    assert [tensor is expected for tensor, expected in zip(call.tensors, (images, others), strict=True)] == [True] * 2
    assert call.first == (images, {1: own})
    assert call.flows[1] == {}
    assert (call.argument(1, "dim", 0), call.argument(2, "other", 7)) == (1, 7)
    call.keep_all("can't be followed")
    assert labels.reason(own) == "cat in stem (Stem) can't be followed"


def test_operations_in_place_have_the_name_of_the_others():
    images = torch.zeros(2, 3)
    call = Call(torch.ops.aten.add_.Tensor, ((images, 1), {}), images, lambda _: {}, Labels(), "")
    assert call.name == "add"
