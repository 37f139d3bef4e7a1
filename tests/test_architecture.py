"""Who may import whom, read from the source: nothing is run, so an import inside a function counts, too."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "effbench"

ROOMS = (
    ("sweep",),
    ("config", "tracking"),
    ("run", "stages"),
    ("plan",),
    ("training", "codec", "measure"),
    ("tasks", "models"),
    ("compression", "data", "analysis"),
    ("checks",),
)
"""From the top down: a room imports from those below it, never from one above or beside it."""
DOORS = ("cli", "export", "latency", "new", "profile", "replay", "report", "store")
"""What may lie in effbench/ beside the rooms: each a thin way in, which may import any of them."""


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


FLOOR = {f"effbench.{room}": number for number, rooms in enumerate(ROOMS) for room in rooms}


def room_of(name):
    return ".".join(name.split(".")[:2])


def imports_between_rooms():
    """Yield (module, its room, imported name, that one's room) for every import across rooms."""
    for module, tree in TREES.items():
        for name in imports_of(tree):
            if within(name, "effbench") and room_of(name) in FLOOR and room_of(module) != room_of(name):
                yield module, room_of(module), name, room_of(name)


def test_the_sources_were_found():
    assert {"effbench", "effbench.run.one", "effbench.stages.prune", "effbench.analysis.saturation"} <= set(TREES)


def test_every_module_has_a_room():
    beside = {module for module in TREES if module != "effbench" and room_of(module) not in FLOOR}
    assert beside <= {f"effbench.{door}" for door in DOORS}
    assert set(FLOOR) == {room_of(module) for module in TREES if module != "effbench"} - beside


def test_imports_lead_down():
    wrong = [
        f"{module} imports {name}"
        for module, room, name, other in imports_between_rooms()
        if room in FLOOR and FLOOR[room] >= FLOOR[other]
    ]
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        module: {name if name in TREES else name.rpartition(".")[0] for name in imports_of(tree)} & set(TREES)
        for module, tree in TREES.items()
    }
    graph = {module: imported - {module, "effbench"} for module, imported in graph.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' → '.join(error.args[1])}")


def test_analysis_stands_alone():
    assert not offences(["effbench.analysis"], "torch", "torchvision", "hydra", "omegaconf", "mlflow")
    assert not offences(["effbench.analysis"], "effbench", but=["effbench.analysis"])


ANALYSIS = ("report", "figures", "", "uncertainty", "definitions", "curves")
"""From the top down, as the rooms; "": what lies beside the others and puts them together."""


def test_imports_within_analysis_lead_down():
    def floor_of(module):
        path = module.removeprefix("effbench.analysis.").split(".")
        return ANALYSIS.index(path[0]) if path[0] in ANALYSIS else ANALYSIS.index("")

    inside = {module: tree for module, tree in TREES.items() if module.startswith("effbench.analysis.")}
    assert {path.name for path in (PACKAGE / "analysis").iterdir() if (path / "__init__.py").exists()} == set(
        ANALYSIS
    ) - {""}
    wrong = [
        f"{module} imports {name}"
        for module, tree in inside.items()
        for name in imports_of(tree)
        if within(name, "effbench.analysis") and floor_of(name) < floor_of(module)
    ]
    assert not wrong


def test_stages_do_not_know_measuring_and_the_codec_and_measuring_does_not_know_training():
    assert not offences(["effbench.stages"], "effbench.measure", "effbench.codec")
    assert not offences(["effbench.measure"], "effbench.stages", "effbench.training")


def test_compression_knows_no_data_and_no_context():
    assert not offences(["effbench.compression"], "effbench.data", "effbench.plan")


def test_no_stage_knows_another():
    for stage in (module for module in TREES if module.startswith("effbench.stages.")):
        assert not offences([stage], "effbench.stages", but=[stage])


def test_hydra_is_for_the_configuration_and_the_doors():
    allowed = ["effbench.config", *(f"effbench.{door}" for door in DOORS)]
    others = [module for module in TREES if not within(module, *allowed)]
    assert not [f"{m} imports {n}" for m in others for n in imports_of(TREES[m]) if within(n, "hydra", "omegaconf")]


def test_only_the_doors_and_sweep_ask_for_the_configuration():
    allowed = ["effbench.config", "effbench.sweep", *(f"effbench.{door}" for door in DOORS)]
    others = [module for module in TREES if not within(module, *allowed)]
    assert not [f"{m} imports {n}" for m in others for n in imports_of(TREES[m]) if within(n, "effbench.config")]


def test_mlflow_is_for_tracking():
    others = [module for module in TREES if not within(module, "effbench.tracking")]
    assert not [f"{m} imports {n}" for m in others for n in imports_of(TREES[m]) if within(n, "mlflow")]


def test_effbench_stands_on_its_own():
    assert not offences(["effbench"], "tests", "experiments", "notebooks", "benchmarks", "pytest", "hypothesis")


def test_the_tests_mirror_the_package():
    """Every module has a test of its own at the same place."""
    missing = []
    for module in TREES:
        *rooms, name = module.split(".")[1:] or [""]
        if rooms and not (ROOT / "tests" / Path(*rooms) / f"test_{name.strip('_')}.py").is_file():
            if not (PACKAGE / Path(*rooms) / name).is_dir():  # a package's own page
                missing.append(module)
    assert not missing


UNSAFE_MODULES = ("pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib")


def calls_of(tree):
    """Yield (dotted name, call) of every call of a plain or dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


SENT_TO_WORKERS = "effbench.run.parcel"
"""The one place that reads what can run code: what effbench sends through a pipe to a process that it began itself."""


def test_nothing_that_is_read_can_run_code():
    assert not offences(["effbench"], *(name for name in UNSAFE_MODULES if name != "cloudpickle"))
    assert {module for module in TREES if "cloudpickle" in imports_of(TREES[module])} == {SENT_TO_WORKERS}
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
