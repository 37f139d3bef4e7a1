"""Weights from a file: exactly those of the network, and of the file as it was when the sweep was planned."""

from pathlib import Path

import pytest
import torch

from effbench.stages.load import Load


@pytest.fixture
def path(tmp_path, toy_network):
    path = tmp_path / "weights.pt"
    torch.save(toy_network(seed=5).state_dict(), path)
    return str(path)


def test_every_tensor_is_the_files_and_the_given_network_stays(path, toy_network, toy_data, make_context):
    network = toy_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    loaded = Load.of(path).apply(network, make_context(toy_data))
    expected = toy_network(seed=5).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_file_is_known_by_its_content(path, toy_network):
    before = Load.of(path)
    assert Load.of(path) == before
    torch.save(toy_network(seed=6).state_dict(), path)
    assert Load.of(path).identity() != before.identity()


def test_one_that_was_written_anew_since_is_refused(path, toy_network, toy_data, make_context):
    stage = Load.of(path)
    torch.save(toy_network(seed=6).state_dict(), path)
    with pytest.raises(
        ValueError, match=r"weights\.pt was changed after the sweep was planned; begin the sweep again$"
    ):
        stage.apply(toy_network(), make_context(toy_data))


def test_the_same_weights_elsewhere_have_the_same_key(path):
    elsewhere = Path(path).with_name("elsewhere.pt")
    elsewhere.write_bytes(Path(path).read_bytes())
    assert Load.of(str(elsewhere)).identity() == Load.of(str(path)).identity()


def test_weights_of_another_network_are_refused_in_one_line(path, toy_network):
    with pytest.raises(ValueError, match=r"weights\.pt does not fit Sequential: .*size mismatch") as refusal:
        network = toy_network()
        network[5] = torch.nn.Linear(96, 7)
        Load.of(path).load_into(network)
    assert len(str(refusal.value).splitlines()) == 1


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    (tmp_path / "text.pt").write_text("no weights")
    torch.save(Load, tmp_path / "code.pt")
    for name in ("text.pt", "code.pt", "missing.pt"):
        with pytest.raises(ValueError, match=name) as refusal:
            Load.of(str(tmp_path / name))
        assert len(str(refusal.value).splitlines()) == 1
