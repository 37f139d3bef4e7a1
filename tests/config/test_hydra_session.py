"""Hydra composes for effbench, and is for the caller what it was before."""

import hydra
import pytest
from hydra import version
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from effbench.config.command_line import read_command_line
from effbench.config.hydra_session import hydra_session, in_one_line
from effbench.config.search_path import Folder, SearchPath


@pytest.fixture
def nothing_of_hydra_left():
    yield
    GlobalHydra.instance().clear()


def test_what_the_callers_program_has_initialised_is_there_afterwards(tmp_path, nothing_of_hydra_left):
    (tmp_path / "program.yaml").write_text("mine: 1\n")
    GlobalHydra.instance().clear()
    hydra.initialize_config_dir(str(tmp_path), job_name="program", version_base="1.2")
    own = GlobalHydra.instance().hydra
    HydraConfig.instance().set_config(hydra.compose("program", return_hydra_config=True))
    for arguments in (["prune=0.5"], ["prune=nope"]):
        try:
            read_command_line(arguments)
        except ValueError:
            assert arguments == ["prune=nope"]
        assert GlobalHydra.instance().hydra is own
        assert str(version.getbase()) == "1.2"
        assert HydraConfig.get().job.name == "program"
        assert hydra.compose("program").mine == 1


def test_where_there_was_nothing_there_is_nothing(nothing_of_hydra_left):
    GlobalHydra.instance().clear()
    with hydra_session(SearchPath()):
        assert hydra.compose("config").tolerance == 0.02
        with hydra_session(SearchPath()):
            pass
        assert GlobalHydra.instance().is_initialized()
    assert not GlobalHydra.instance().is_initialized()


def test_effbenchs_own_folder_is_looked_through_first(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name / "model").mkdir(parents=True)
        for member in ("net", "lenet_5"):
            (tmp_path / name / "model" / f"{member}.yaml").write_text(f"_target_: {name}\n")
    folders = tuple(Folder(tmp_path / name, name) for name in ("first", "second"))
    with hydra_session(SearchPath(folders=folders)):
        assert hydra.compose(overrides=["+model=net"]).model._target_ == "first"
        assert hydra.compose(overrides=["+model=lenet_5"]).model._target_ == "effbench.models.lenet_5"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("nope=1", "nope: there is no such key"),
        ("model=nope", "In 'config': Could not find 'model/nope'"),
        ("+model@part=nope", "In 'config': Could not find 'model/nope'"),
    ],
)
def test_what_hydra_refuses_is_told_in_a_line(override, said):
    with pytest.raises(ValueError, match=f"^{said}") as caught, in_one_line(), hydra_session(SearchPath()):
        hydra.compose("config", overrides=[override])
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ValueError, match="nope"), in_one_line():
        OmegaConf.to_container(OmegaConf.create({"a": "${nope}"}), resolve=True)
