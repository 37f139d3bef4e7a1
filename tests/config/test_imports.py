"""imports=: modules that register resolvers, imported before anything is read."""

import pytest

from effbench.config.command_line import read_command_line

CODE = "from omegaconf import OmegaConf\nOmegaConf.register_new_resolver('mine_of_15', lambda x: x / 4, replace=True)\n"


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "resolvers_of_15.py").write_text(CODE)
    (tmp_path / "broken_of_15.py").write_text("raise KeyError('x')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield


@pytest.mark.parametrize("written", ["imports=resolvers_of_15", "+imports=[resolvers_of_15]"])
def test_its_resolvers_are_there(module, written):
    assert read_command_line([written, "prune=${mine_of_15:2}"]).axis_values == {"prune": (0.5,)}


def test_a_file_of_defaults_may_name_it_and_no_run_has_it(module, own_folder):
    own_folder({"mine.yaml": "defaults: [config, _self_]\nimports: [resolvers_of_15]\ntolerance: '${mine_of_15:1}'\n"})
    (composed,) = read_command_line(["-cd", "conf_mine", "-cn", "mine"]).configurations
    assert composed.node["tolerance"] == "${mine_of_15:1}"
    assert "imports" not in composed.node


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("imports=nope_of_15", "imports=nope_of_15: can't be imported: ModuleNotFoundError"),
        ("imports=broken_of_15", "imports=broken_of_15: can't be imported: KeyError: 'x'"),
        ("imports=3", "imports=3: must be a module, or a list of them, as in imports=my_module"),
        ("imports=a/b", "must be a module"),
    ],
)
def test_what_is_none_is_refused(module, text, said):
    with pytest.raises(ValueError) as caught:
        read_command_line([text])
    assert said in str(caught.value)
