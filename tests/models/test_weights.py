import os
import pickle

import pytest
import torch
from torch import nn

from effbench.models.weights import load_fitting, read_state_dict


@pytest.fixture
def save(tmp_path):
    """Return a function that writes what torch.save makes of something, and gives the path."""

    def save(content):
        torch.save(content, tmp_path / "weights.pt")
        return str(tmp_path / "weights.pt")

    return save


def network(n_classes=5, n_layers=1, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)) for _ in range(n_layers)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(3, n_classes))


class TestReading:
    def test_a_state_dict_comes_back(self, save):
        state = network().state_dict()
        loaded = read_state_dict(save(state))
        assert list(loaded) == list(state)
        assert all(torch.equal(loaded[name], state[name]) for name in state)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(ValueError, match=r'weights must be "none", "default" or an existing file; .*missing.pt'):
            read_state_dict(tmp_path / "missing.pt")

    @pytest.mark.parametrize("content", [b"", b"not a pickle at all", b"PK\x03\x04 a damaged archive"])
    def test_other_bytes_are_refused(self, tmp_path, content):
        path = tmp_path / "weights.pt"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="can't be read as weights"):
            read_state_dict(path)

    @pytest.mark.parametrize(
        "content", [[1, 2], torch.zeros(3), {}, {"epoch": 3}, {"state_dict": {"a": torch.zeros(1)}}]
    )
    def test_other_contents_are_refused(self, save, content):
        with pytest.raises(ValueError, match=r"must hold a state_dict \(tensors by name\)"):
            read_state_dict(save(content))


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


class TestHostilePickles:
    def test_code_inside_is_refused_and_not_run(self, tmp_path, save):
        target = tmp_path / "owned"
        path = save({"features.0.weight": Malicious(str(target))})
        with pytest.raises(ValueError, match="can't be read as weights") as caught:
            read_state_dict(path)
        assert not target.exists()
        assert "\n" not in str(caught.value)

    def test_a_bare_pickle_is_refused_and_not_run(self, tmp_path):
        target = tmp_path / "owned"
        path = tmp_path / "weights.pkl"
        path.write_bytes(pickle.dumps(Malicious(str(target))))
        with pytest.raises(ValueError, match="can't be read as weights"):
            read_state_dict(path)
        assert not target.exists()


class TestFitting:
    def test_a_classifier_for_other_classes_stays_fresh(self):
        source, fresh, fitted = network(5, seed=1).state_dict(), network(4).state_dict(), network(4)
        load_fitting(fitted, source, origin="here")
        for name, tensor in fitted.state_dict().items():
            assert torch.equal(tensor, (fresh if name.startswith("2.") else source)[name])

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda state: state.pop("0.0.weight"), "0.0.weight is missing"),
            (lambda state: state.pop("2.bias"), "2.bias is missing"),
            (lambda state: state.update(extra=torch.zeros(1)), "extra is unknown"),
            (lambda state: state.update({"0.0.bias": torch.zeros(7)}), "0.0.bias is 7, not 3"),
            (lambda state: state.update({"2.weight": torch.zeros(5, 7)}), "2.weight is 5×7, not 5×3"),
            (lambda state: state.update({"0.1.num_batches_tracked": torch.zeros(2)}), "is 2, not a scalar"),
        ],
    )
    def test_anything_else_that_does_not_fit_is_named(self, damage, message):
        state = network().state_dict()
        damage(state)
        with pytest.raises(ValueError, match=f"^weights.pt does not fit Sequential: .*{message}"):
            load_fitting(network(), state, origin="weights.pt")

    def test_only_a_few_tensors_are_named(self):
        state = {f"other.{name}": tensor for name, tensor in network(n_layers=4).state_dict().items()}
        with pytest.raises(ValueError, match=r" and \d+ more$") as caught:
            load_fitting(network(n_layers=4), state, origin="weights.pt")
        assert str(caught.value).count(" is ") == 3
