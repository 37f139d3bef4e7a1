import ast
import subprocess
import sys
from pathlib import Path

import effbench.analysis

FOREIGN = ("torch", "mlflow", "hydra", "omegaconf")


def test_importing_brings_in_neither_torch_nor_trackers_nor_drawing():
    code = "import sys, effbench.analysis; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & {*FOREIGN, "matplotlib", "moocore", "kneed"}


def test_nothing_else_of_effbench_is_imported():
    for path in Path(effbench.analysis.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.split(".")[0] not in FOREIGN, path
                assert not name.startswith("effbench") or name.startswith("effbench.analysis"), path
