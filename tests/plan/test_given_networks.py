"""Networks and factories given as objects."""

import sys
import threading

import pytest
import torch
import torchvision
from torch import nn

from effbench.plan.blueprint import Blueprint
from effbench.plan.given_networks import give_factory, give_network


def perceptron(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


class TestNetworks:
    def test_a_copy_is_built_with_its_weights_as_they_were(self):
        network = perceptron()
        target = give_network(network)
        before = network[1].weight.detach().clone()
        with torch.no_grad():
            network[1].weight.zero_()
        built, again = Blueprint(target).build(num_classes=7), Blueprint(target).build()
        assert torch.equal(built[1].weight, before) and built is not again is not network
        assert give_network(network) != target

    def test_equal_networks_have_one_name(self):
        assert give_network(perceptron()) == give_network(perceptron()) != give_network(perceptron(1))

    @pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["DataParallel", "torch.compile"])
    def test_what_only_wraps_a_network_is_taken_off(self, wrap):
        assert give_network(wrap(perceptron())) == give_network(perceptron())

    def test_its_classes_of_the_users_own_are_part_of_its_identity(self, tmp_path, monkeypatch):
        (tmp_path / "own_nets_of_a_user.py").write_text("from torch import nn\nclass Net(nn.Linear): pass\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        import own_nets_of_a_user

        identity = Blueprint(give_network(own_nets_of_a_user.Net(1, 1))).identity()
        named = {part["name"]: part["packages"] for part in identity["classes"]}
        assert "torch" in named["Net"] and named["Linear"]
        del sys.modules["own_nets_of_a_user"]

    def test_what_can_not_be_told_from_another_is_refused(self):
        network = perceptron()
        network.lock = threading.Event  # a class is no trouble
        give_network(network)
        network.forward = (lambda lock: lambda x: lock)(iter([1]).__next__)
        with pytest.raises(ValueError, match=r"Sequential"):
            network.held = (n for n in [1])
            give_network(network)


class TestFactories:
    def test_what_can_be_imported_has_its_own_name(self):
        assert give_factory(torchvision.models.resnet18, what="model") == "torchvision.models.resnet.resnet18"
        assert give_factory(nn.Identity, what="model") == "torch.nn.modules.linear.Identity"

    def test_a_lambda_is_its_code_and_what_it_holds(self):
        def make(width):
            return lambda num_classes: nn.Linear(width, num_classes)

        two, three = give_factory(make(2), what="model"), give_factory(make(3), what="model")
        assert two.startswith("given:lambda-") and two == give_factory(make(2), what="model") != three
        assert Blueprint(two).build(num_classes=5, input_side=3).weight.shape == (5, 2)

    def test_a_static_method_goes_by_value(self):
        class Zoo:
            @staticmethod
            def net():
                return nn.Identity()

        assert give_factory(Zoo.net, what="model").startswith("given:net-")

    def test_what_holds_no_content_is_refused_with_its_name(self):
        lock = threading.Lock()
        with pytest.raises(ValueError, match=r"model=lambda: refers to lock, which is a lock.*make that within"):
            give_factory(lambda: lock, what="model")
