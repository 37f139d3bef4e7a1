"""What a command says of its launcher: every wrong thing is one line, before anything starts."""

from importlib.util import find_spec

import pytest

from effbench.config import launcher_options
from effbench.config.command_line import read_command_line

HAS = {extra: find_spec(extra) is not None for extra in ("ray", "submitit")}
REFUSED = {
    "hydra/launcher=nope": "hydra/launcher=nope: there is no such choice; ",
    "hydra/launcher=joblib,basic": "hydra/launcher=joblib,basic: takes one value, for the whole sweep",
    "hydra/launcher=joblib hydra.launcher.n_jobs=1,2": "hydra.launcher.n_jobs=1,2: takes one value, for the",
    "hydra/launcher=joblib hydra.launcher.n_jobs=a": "hydra.launcher.n_jobs=a: Value 'a' of type 'str' could not be",
    "hydra/launcher=joblib hydra.launcher.nope=2": "hydra.launcher.nope: there is no such key",
    "hydra.launcher.n_jobs=2": "hydra.launcher.n_jobs: there is no such key",
}
OF_SUBMITIT = {
    "hydra/launcher=submitit_local hydra.launcher.timeout_min=0": "hydra.launcher.timeout_min=0: must be a whole",
    "hydra/launcher=submitit_local hydra.launcher.nodes=2": "hydra.launcher.nodes=2: must be 1",
    "hydra/launcher=submitit_local hydra.launcher.partition=x": "hydra.launcher.partition: there is no such key",
    "hydra/launcher=submitit_slurm": "hydra/launcher=submitit_slurm: there is no sbatch here",
}
OF_RAY = {
    "hydra/launcher=ray hydra.launcher.ray.init.num_cpu=2": "hydra.launcher.ray.init.num_cpu: Ray's init has no such",
    "hydra/launcher=ray hydra.launcher.ray.remote.num_cpu=2": "hydra.launcher.ray.remote: Invalid option keyword",
    "hydra/launcher=ray hydra.launcher.n_jobs=2": "hydra.launcher.n_jobs: there is no such key",
}


@pytest.mark.matrix(fast=2)
@pytest.mark.parametrize(
    "arguments, message",
    [
        *REFUSED.items(),
        *(OF_SUBMITIT.items() if HAS["submitit"] else ()),
        *(OF_RAY.items() if HAS["ray"] else ()),
    ],
)
def test_what_can_not_be_launched_is_refused_in_one_line(arguments, message, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError) as refused:
        read_command_line(arguments.split())
    assert str(refused.value).startswith(message) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name, extra",
    [("ray", "ray"), ("submitit_local", "submitit"), ("submitit_slurm", "submitit"), ("joblib", "joblib")],
)
def test_an_extra_that_is_not_installed_is_named_with_what_installs_it(name, extra, monkeypatch):
    monkeypatch.setattr(launcher_options, "find_spec", lambda name: None)
    with pytest.raises(ValueError) as refused:
        read_command_line([f"hydra/launcher={name}"])
    assert str(refused.value) == f"hydra/launcher={name}: is not installed; pip install 'effbench[{extra}]'"


@pytest.mark.skipif(not HAS["ray"], reason="the extra is not installed: pip install 'effbench[ray]'")
def test_options_of_rays_functions_need_no_plus_and_a_file_of_the_users_builds_on_it(tmp_path):
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "hydra" / "launcher" / "ours.yaml").write_text("defaults: [ray]\nray: {init: {address: 'here:6379'}}\n")
    written = ["hydra/launcher=ours", "hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.remote.num_gpus=1"]
    command = read_command_line(["--config-dir", str(tmp_path), *written])
    assert command.launcher == (written[0], f"++{written[1]}", written[2])
