"""The notebooks: what they show is there, from the folder in which they are started."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells if cell.cell_type == "code")


@pytest.mark.filterwarnings("ignore")  # the notebook client's own
def test_a_notebook_runs_against_a_sweep(shared):
    notebook = nbformat.read(FOLDER / "saturation.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(shared.path)}})
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    text = "\n".join(str(output.get("text") or output.get("data", {}).get("text/plain", "")) for output in outputs)
    assert "4 runs over prune" in text
    assert "kneedle" in text
    assert any("image/png" in output.get("data", {}) for output in outputs)
