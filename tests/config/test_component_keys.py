"""Which keys name a class of training, and that telling so needs no torch."""

import subprocess
import sys

import pytest

from effbench.config.component_keys import as_key, is_component_key

KEYS = {
    "train.optimizer": True,
    "train.optimizer.momentum": True,
    "finetune.loss": True,
    "stage.prune.optimizer": True,
    "stage.distill.augmentation.magnitude": True,
    "train.lr": False,
    "optimizer": False,
    "stage.prune.criterion": False,
}


@pytest.mark.parametrize("key", KEYS)
def test_such_keys_are_known(key):
    assert is_component_key(key) is KEYS[key]


def test_hydras_slashes_are_dots_in_them_and_only_there():
    assert as_key("train/optimizer") == "train.optimizer"
    assert as_key("hydra/launcher") == "hydra/launcher"


def test_keys_members_and_folders_are_read_without_torch():
    program = "import sys; import effbench.config.members, effbench.config.overrides; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
