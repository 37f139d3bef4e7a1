"""The notebooks: each runs from top to bottom, says what it is there to say, and ends in a figure."""

import html
import re
import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FIRST, *OTHERS = ("1_first_sweep", "2_which_knob_first", "3_is_it_really_faster", "4_how_sure_are_we")
OWN = "5_my_own_network_and_data"
SAYS = {
    FIRST: [
        r"size_bytes: prune=\S+ keeps accuracy within 2 points \(.* test: ",
        r"\nprune=\S+ (loses|gains) \d+\.\d points; the next cheaper, prune=\S+, loses",
        r"tolerance 0 points: \w+.*\ntolerance 1 points: \w+.*\ntolerance 2 points: \w+.*\ntolerance 5 points: \w+",
        r"sweep \w{12}: 6 runs over prune\n",
    ],
    "2_which_knob_first": [
        r"prune alone: \w+.*\nbits alone: \w+.*\nhidden alone: \w+",
        r"(?s)on_front.*alone.*lost.*bits.*True",
    ],
    "3_is_it_really_faster": [
        r"onnxruntime is installed|Only PyTorch itself",
        r"size_bytes: ",
        r"(?s)macs_effective_ratio.*speedup_low.*verdict.*prune=0.7 .*none",
    ],
    "4_how_sure_are_we": [
        r"size_bytes: prune=\S+ keeps accuracy within 2 points .*3 seeds: ",
        r"seed 0: \w+.*\nseed 1: \w+.*\nseed 2: \w+",
        r"examples only, 1 seed\n +chosen: \{.*\n +interval .*\n3 seeds\n +chosen: \{",
        r"validation: the point loses .*\n+test: the point loses ",
        r"tolerance: \w.*\ntolerance_bound: .*at most.*\nkneedle: \w.*\nmarginal: \w.*\nprice: .*20 KB",
        r"tolerance, without the smallest: \w",
    ],
    OWN: [
        r"size_bytes: prune=\S+ keeps accuracy within 2 points",
        r"both are the same network: True",
        r"80 % zeros: \d+ bytes.*\n90 % zeros: \d+ bytes",
    ],
}


@pytest.fixture(scope="module")
def lessons(tmp_path_factory, empty_database):
    """Return the folder in which all notebooks run, as a student has them: what one computed the next one finds."""
    above = tmp_path_factory.mktemp("course")
    (above / "mlflow.db").write_text("of something else")  # nothing here looks at it
    (above / "notebooks" / "lessons").mkdir(parents=True)
    shutil.copy(empty_database, above / "notebooks" / "lessons" / "mlflow.db")
    return above / "notebooks"


def executed(name, folder):
    """Return a notebook after all its cells have run, and all that it printed as text. An error of a cell is raised."""
    import nbformat  # takes seconds, and not every test needs it
    from nbclient import NotebookClient

    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    # What one cell prints may come in several pieces, divided anywhere beside an end of a line.
    return notebook, re.sub(r"\n+", "\n", "\n".join(map(_text, outputs)) + "\n")


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _text(output):
    data = output.get("data", {})
    page = re.sub(r"</(li|tr|p)>", "\n", re.sub(r"</t[dh]>", " ", data.get("text/html", "")))
    return output.get("text", "") or html.unescape(re.sub(r"<[^>]+>", "", page)) or data.get("text/plain", "")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs_and_teaches(path):
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.outputs or cell.execution_count for cell in code_of(notebook))
    nbformat.validate(notebook)
    first, last = notebook.cells[0].source, notebook.cells[-1].source
    assert first.startswith(f"# {path.stem[0]} · ") and "**Question.**" in first and "**What we do.**" in first
    assert last.startswith("## Try it yourself") and "\n* " in last


def test_every_notebook_has_its_assertions():
    assert [path.stem for path in NOTEBOOKS] == list(SAYS)


@pytest.mark.waiting
@pytest.mark.filterwarnings("ignore")  # the notebook client's own
@pytest.mark.parametrize("name", [FIRST, *OTHERS, OWN])
def test_a_notebook_runs_from_top_to_bottom(lessons, name):
    notebook, text = executed(name, lessons)
    for said in SAYS[name]:
        assert re.search(said, text), f"{said} is not in:\n{text}"
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    assert not [output.text for output in outputs if output.get("name") == "stderr" and "Warning" in output.text]
    assert "image/png" in code_of(notebook)[-1].outputs[-1]["data"]
    assert {path.name for path in lessons.iterdir()} == {"lessons"}


@pytest.mark.waiting
@pytest.mark.filterwarnings("ignore")  # the notebook client's own
def test_a_notebook_that_ran_finds_all_of_it_and_says_the_same(lessons):
    runs = [executed(FIRST, lessons)[0] for _ in range(2)]
    assert "to run" not in _text(code_of(runs[1])[1].outputs[-1])
    (saturation,) = (n for n, cell in enumerate(code_of(runs[0])) if cell.source.startswith("found ="))
    assert len({code_of(notebook)[saturation].outputs[0].text for notebook in runs}) == 1
