"""glob(…): the names of a group, of an axis's choices, of a training option; nothing else has names."""

import pytest

from effbench.config.command_line import read_command_line
from effbench.config.globs import with_globs
from effbench.config.hydra_session import hydra_session
from effbench.config.members import declared_axes
from effbench.config.search_path import Folder, SearchPath, searching

WRITTEN = {
    "model=glob(lenet*)": "model=lenet_300_100,lenet_5",
    "+model=glob([lenet_5,small_c*])": "model=lenet_5,small_cnn",
    "model=glob(lenet*,exclude=lenet_5)": "model=lenet_300_100",
    "pooling=glob(e*)": "pooling=early,even",
    "train/optimizer=glob(adam*)": "train.optimizer=adam,adamw",
    "train.optimizer=glob(adam*,exclude=[adam])": "train.optimizer=adamw",
    "engine=glob(o*)": "engine=onnxruntime,openvino",
    "tolerance=glob(*)": "tolerance=glob(*)",
    "model=lenet_5": "model=lenet_5",
    "data.root=glob(": "data.root=glob(",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_names_are_written_out(text):
    with hydra_session(SearchPath()):
        assert with_globs([text], declared_axes()) == [WRITTEN[text]]


def test_members_of_the_users_are_among_them(own_folder):
    folder = own_folder({"model/lenet_mine.yaml": "_target_: a.b\n"})
    path = SearchPath(folders=(Folder(folder, "conf_mine"),))
    with searching(path), hydra_session(path):
        assert with_globs(["model=glob(lenet_*)"], {}) == ["model=lenet_300_100,lenet_5,lenet_mine"]


def test_what_is_found_is_swept_and_what_is_not_is_refused():
    swept = [composed.swept for composed in read_command_line(["model=glob(lenet*)"]).configurations]
    assert swept == [{"model": "lenet_300_100"}, {"model": "lenet_5"}]
    for text in ("tolerance=glob(*)", "prune=glob(*)", "store.root=glob(*)"):
        with pytest.raises(ValueError, match="glob names what a group has"):
            read_command_line([text])
    with pytest.raises(ValueError, match=r"model=glob\(nope\*\): stands for nothing; model can be lenet_300_100, "):
        read_command_line(["model=glob(nope*)"])
