"""What `pip install` brings: the package with its configuration, able to run from an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


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


def test_the_main_job_runs_from_an_empty_folder(installed, tmp_path):
    command = "-m effbench.sweep +prune=0.5 train.epochs=1 finetune.epochs=1 train.fraction=0.1 measure.seconds=0.02"
    where = "import effbench, pathlib; print(pathlib.Path(effbench.__file__).parent)"
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PYTHONPATH": str(installed)}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 200}
    found = subprocess.run([sys.executable, "-c", where], check=True, **options)
    assert found.stdout.strip() == str(installed / "effbench")
    finished = subprocess.run([sys.executable, *command.split(), "sweep.jobs=1"], check=False, **options)
    assert finished.returncode == 0, finished.stderr
    assert "size_bytes:" in finished.stdout
    assert (tmp_path / "mlflow.db").is_file()
