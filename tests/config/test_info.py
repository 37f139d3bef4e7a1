"""What Hydra found, as --info and --hydra-help print it; logging is left as it was."""

import logging

import pytest

from effbench.config.info import hydra_help, info_text
from effbench.config.options import INFO, OPTIONS

SAYS = {
    "searchpath": ["Config search path", "command-line", "conf_mine"],
    "defaults": ["Defaults List", "model/lenet_5", "hydra/launcher/joblib", "stage/prune"],
    "defaults-tree": ["Defaults Tree", "model: lenet_5"],
    "plugins": ["Installed Hydra Plugins", "JoblibLauncher", "BasicSweeper"],
    "config": ["Config search path", "Defaults Tree", "Defaults List", "kernel: 5", "prune: 0.5"],
    "all": [
        "Hydra 1.3",
        "Installed Hydra Plugins",
        "Config search path",
        "Defaults Tree",
        "Defaults List",
        "prune: 0.5",
    ],
}


@pytest.mark.matrix(fast=1)
@pytest.mark.parametrize("kind", INFO)
def test_each_kind_of_information(own_folder, capsys, kind):
    own_folder({"model/net.yaml": "_target_: a.b\n"})
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    arguments = ["-cd", "conf_mine", "prune=0.5", "model=lenet_5", "model.kernel=5", "hydra/launcher=joblib"]
    text = info_text(arguments, kind)
    assert [said for said in SAYS[kind] if said not in text] == []
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == (handlers, level)
    assert capsys.readouterr() == ("", "")


def test_hydras_help_has_its_groups_and_effbenchs_options():
    text = hydra_help([])
    assert "hydra/job_logging: default, disabled, none, stdout" in text
    assert all(name in text for name in OPTIONS)


def test_a_command_that_does_not_fit_is_refused():
    for ask in (lambda: info_text(["prne=1"], "defaults"), lambda: hydra_help(["prne=1"])):
        with pytest.raises(ValueError, match="did you mean prune"):
            ask()
