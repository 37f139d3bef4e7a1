"""Who may import whom (DESIGN.md), read from the source: nothing is run, so an import inside a function counts, too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "effbench"
DOORS = {f"effbench.{name}" for name in ("sweep", "profile", "latency", "export", "report", "replay")}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


TREES = {module_name(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(tree):
    """Yield the full name of everything that is imported: `from a import b` gives a.b, which may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used: their names can't be searched for"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offences(importers, *forbidden, but=()):
    """Return "module imports name" for each import of something forbidden in the modules of some packages."""
    return [
        f"{module} imports {name}"
        for module, tree in TREES.items()
        if within(module, *importers)
        for name in imports_of(tree)
        if within(name, *forbidden) and not within(name, *but)
    ]


def test_the_sources_were_found():
    assert {"effbench", "effbench.run.one", "effbench.stages.prune", "effbench.analysis.saturation"} <= set(TREES)


def test_analysis_needs_neither_torch_nor_hydra_nor_mlflow_nor_the_rest():
    assert not offences(["effbench.analysis"], "torch", "torchvision", "hydra", "omegaconf", "mlflow")
    assert not offences(["effbench.analysis"], "effbench", but=["effbench.analysis"])


def test_stages_and_measuring_do_not_know_each_other():
    assert not offences(["effbench.stages"], "effbench.measure", "effbench.codec")
    assert not offences(["effbench.measure"], "effbench.stages")


def test_no_stage_knows_another():
    for stage in (module for module in TREES if module.startswith("effbench.stages.")):
        assert not offences([stage], "effbench.stages", but=[stage])


def test_hydra_is_for_the_configuration_and_the_doors():
    others = [module for module in TREES if not within(module, "effbench.config") and module not in DOORS]
    assert not [f"{m} imports {n}" for m in others for n in imports_of(TREES[m]) if within(n, "hydra", "omegaconf")]


def test_mlflow_is_for_tracking():
    others = [module for module in TREES if not within(module, "effbench.tracking")]
    assert not [f"{m} imports {n}" for m in others for n in imports_of(TREES[m]) if within(n, "mlflow")]


@pytest.mark.parametrize("room", ["models", "data", "training", "stages", "codec", "measure", "recipe", "run", "plan"])
def test_the_library_does_not_reach_up_to_commands_and_tracking(room):
    assert not offences([f"effbench.{room}"], "effbench.config", "effbench.tracking", *DOORS)


def test_effbench_stands_on_its_own():
    assert not offences(["effbench"], "tests", "experiments", "notebooks", "benchmarks", "pytest", "hypothesis")


UNSAFE_MODULES = ("pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib")


def calls_of(tree):
    """Yield (dotted name, call) of every call of a plain or dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_nothing_that_is_read_can_run_code():
    assert not offences(["effbench"], *UNSAFE_MODULES)
    for module, tree in TREES.items():
        for name, call in calls_of(tree):
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name in ("torch.load", "load_state_dict_from_url"):
                assert options.get("weights_only") == "True", f"{module}: {ast.unparse(call)}"
            if name.endswith(("np.load", "numpy.load")):
                assert options.get("allow_pickle", "False") == "False", f"{module}: {ast.unparse(call)}"
            assert name not in ("eval", "exec", "yaml.load", "yaml.unsafe_load"), f"{module}: {ast.unparse(call)}"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import effbench; dir(effbench)", ["torch", "mlflow", "hydra", "omegaconf", "pandas", "matplotlib"]),
        ("from effbench import saturation_point", ["torch", "mlflow", "hydra", "omegaconf"]),
    ],
)
def test_importing_brings_nothing_heavy_along(statement, absent):
    program = f"import sys; {statement}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
