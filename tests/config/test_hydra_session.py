"""Hydra composes for effbench, and is for the caller what it was before."""

import shutil

import hydra
import pytest
from hydra import version
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import OmegaConf

from effbench.config import hydra_session as hydra_session_module
from effbench.config.command_line import read_command_line
from effbench.config.hydra_session import compose, hydra_session, in_one_line
from effbench.config.search_path import Folder, SearchPath, conf_folder


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


OVERRIDES = [
    [],
    ["model=lenet_5", "data=digits"],
    ["++device=cpu", "++seed=3"],
    ["model=lenet_5", "++train.epochs=2", "++train.lr=1e-3", "++tolerance=null"],
    ["++train.augment=[flip,crop]", "++train.optimizer={_target_: torch.optim.SGD, momentum: 0.9}"],
    ["++train.optimizer={a: 1}", "++train.optimizer.b=2", "++new.key.of.nobody='a b, c'"],
    ["++finetune.lr=${train.lr}", '++store.root="a=b"', "++measure.batch=[1,8]"],
    ["++seed=1", "seed=2"],
    ["++train.epochs=5", "++train={epochs: 3}"],
    ["++train.epochs=5", "train={epochs: 3}", "++train.lr=0.5"],
    ["++tracking.uri=y", "++tracking={uri: x}"],
    ["++model=lenet_5", "++model.width=2", "data=digits"],
    ["+experiment=null", "++stage={}"],
]


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize("overrides", OVERRIDES, ids=" ".join)
def test_what_is_composed_is_what_hydra_composes(overrides):
    with hydra_session(SearchPath()):
        try:
            expected = hydra.compose("config", overrides)
        except HydraException as error:
            with pytest.raises(type(error)):
                compose("config", overrides)
            return
        for _ in range(2):
            found = compose("config", overrides)
            assert found == expected and list(found) == list(expected)
            assert OmegaConf.is_struct(found) == OmegaConf.is_struct(expected)


def test_what_is_done_to_one_does_not_reach_the_next():
    with hydra_session(SearchPath()):
        first = compose("config", ["++train.epochs=7"])
        OmegaConf.set_struct(first, False)
        first.train.epochs, first.model = 9, None
        assert compose("config").train.epochs != 9 and compose("config").model is not None


def test_files_that_changed_are_read_anew(tmp_path, monkeypatch):
    shutil.copytree(conf_folder(), tmp_path / "conf")
    monkeypatch.setattr(hydra_session_module, "conf_folder", lambda: tmp_path / "conf")
    written = (tmp_path / "conf" / "config.yaml").read_text()
    for tolerance in (0.02, 0.03):
        (tmp_path / "conf" / "config.yaml").write_text(written.replace("tolerance: 0.02", f"tolerance: {tolerance}"))
        with hydra_session(SearchPath()):
            assert compose("config").tolerance == tolerance


def test_nothing_of_a_users_folder_outlives_its_session(tmp_path):
    (tmp_path / "model").mkdir()
    path = SearchPath(folders=(Folder(tmp_path, "mine"),))
    for width in (1, 2):
        (tmp_path / "model" / "net.yaml").write_text(f"_target_: a.b\nwidth: {width}\n")
        with hydra_session(path):
            assert compose(None, ["+model=net"]).model.width == width


@pytest.mark.parametrize("override", ["++hydra.job.name=x", "++measure.batch=1,2"])
def test_settings_of_hydra_and_several_values_are_not_for_it(override):
    with hydra_session(SearchPath()), pytest.raises(AssertionError):
        compose("config", [override])
