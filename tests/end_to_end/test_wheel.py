"""What `pip install` brings: the package with its configuration and its command, able to run from an empty folder.

There a user adds one of each kind, without a line in effbench: by `effbench new`, and in a package of their own.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from effbench.tracking.read import load_runs

CHECKOUT = Path(__file__).parents[2]
PACKAGE = {
    "kit/__init__.py": "",
    "kit/tasks.py": """
from dataclasses import dataclass
from typing import ClassVar

import torch

from effbench.analysis.curves.quality import Quality
from effbench.tasks.classification import Classification


@dataclass(frozen=True, kw_only=True)
class Mistakes(Classification):
    name: ClassVar[str] = "mistakes"
    VERSION: ClassVar[int] = 1

    def quality(self, data, /):
        chance = 1 - super().quality(data).chance
        return Quality(name="error_rate", kind="ratio", unit="points", direction="lower", chance=chance)

    def kinds(self, data, /):
        return {"error_rate": "ratio"}

    def counts(self, outputs, targets, /):
        wrong = (outputs.argmax(1) != targets).long()
        return {"error_rate": torch.stack([wrong, torch.ones_like(wrong)], dim=1)[:, None]}
""",
    "kit/conf/task/mistakes.yaml": """
_target_: kit.tasks.Mistakes
model: small_cnn
data: digits
like: classification
""",
}
NEW = "from effbench.new import main; import sys; sys.exit(sum(main(words.split()) for words in sys.argv[1:]))"
COMMAND = """--config-dir conf_mine hydra.searchpath=[pkg://kit.conf] task=mistakes model=my_net data=my_shapes
recipe=my_recipe recipe.rounds=1 +my_stage=1 +my_net_width=8 engine=eager,my_engine engine.my_engine.channels_last=false
train.epochs=1 finetune.epochs=1 measure.seconds=0.02 measure.disturbed=keep sweep.jobs=2"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    return site


def test_the_configuration_is_inside(installed):
    shipped = {path.relative_to(installed / "effbench" / "conf") for path in installed.glob("effbench/conf/**/*.yaml")}
    assert shipped == {path.relative_to(CHECKOUT / "conf") for path in CHECKOUT.glob("conf/**/*.yaml")}
    assert not (installed / "tests").exists()
    beginnings = {path.name for path in installed.glob("effbench/config/beginnings/*")}
    assert beginnings == {path.name for path in CHECKOUT.glob("effbench/config/beginnings/*")} != set()


@pytest.fixture
def run(installed, tmp_path, empty_database):
    """Return what runs a program in an empty folder, with the wheel and the user's package installed elsewhere."""
    for name, content in PACKAGE.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.lstrip())
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(empty_database, work / "mlflow.db")
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(installed), str(tmp_path / "packages")])}

    def do(*command):
        options = {"cwd": work, "env": environment, "capture_output": True, "text": True, "timeout": 300}
        return subprocess.run(list(map(str, command)), check=False, **options)

    do.folder = work
    return do


@pytest.mark.waiting
def test_all_that_one_may_add_runs_from_an_empty_folder(installed, run):
    script = installed / "bin" / "effbench"
    where = run(sys.executable, "-c", "import effbench, pathlib; print(pathlib.Path(effbench.__file__).parent)")
    assert where.stdout.strip() == str(installed / "effbench")
    begun = run(script, "new", "stage", "my_stage")
    assert (begun.returncode, begun.stdout.splitlines()[0]) == (0, "wrote my_stage.py"), begun.stderr
    others = run(sys.executable, "-c", NEW, "model my_net", "data my_shapes", "engine my_engine", "recipe my_recipe")
    assert others.returncode == 0, others.stderr
    done = run(script, "sweep", *shlex.split(COMMAND))
    assert (done.returncode, done.stderr) == (0, "")
    assert "error-rate" in done.stdout
    (table,) = run.folder.glob(".effbench/sweeps/*/table.csv")
    frame = pd.read_csv(table)
    assert frame[["my_stage", "my_net_width"]].to_numpy().tolist() == [[0, 16], [1, 8]]
    assert frame["size_bytes"].is_monotonic_decreasing
    assert frame["error_rate_val"].between(0, 1).all()
    assert (frame["latency_ms/my_engine"] > 0).all()
    runs = load_runs(tracking_uri=f"sqlite:///{run.folder / 'mlflow.db'}")
    assert set(runs["quality_name"] + runs["quality_direction"]) == {"error_ratelower"}
    assert {*runs["task"], *runs["model"], *runs["data"], *runs["recipe"]} == {
        *("mistakes", "my_net", "my_shapes", "my_recipe")
    }
    assert runs.filter(like="kept_share/my_stage").max(axis=None) < 1  # the stage's own metric
    again = run(sys.executable, "-m", "effbench.sweep", *shlex.split(COMMAND), "dry_run=true")  # the same command
    assert "2 runs, 2 kept, 0 to run" in again.stdout, again.stderr
    point = runs[~runs["reference"]].iloc[0]
    replayed = run(
        script, "replay", f"run={point['run_key']}"
    )  # no folder is named: the run's configuration has it all
    assert (replayed.returncode, replayed.stderr) == (0, ""), replayed.stdout
    assert replayed.stdout.splitlines()[-1].startswith("identical: ")
