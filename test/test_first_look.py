"""The notebook docs/first_look.ipynb runs, and is committed with what it shows."""

import pytest
from helpers import ROOT

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

NOTEBOOK = ROOT / "docs" / "first_look.ipynb"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "sample" / "bundle").exists(), reason="sample/bundle is missing"),
]


def outputs(notebook) -> list:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_it_runs_from_the_first_cell_to_the_last():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert any("image/png" in output.get("data", {}) for output in outputs(notebook))


def test_it_is_committed_with_its_outputs_and_without_warnings_or_paths():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any("image/png" in output.get("data", {}) for output in outputs(notebook))
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]
    assert str(ROOT) not in NOTEBOOK.read_text(encoding="utf-8")
