"""A sweep in a real notebook: a kernel runs the cells and its outputs are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.patience import patience

RUN = """
import gapsweep
sweep = gapsweep.run({
    "name": "notebook",
    "trainable": "trainables.models:MLP",
    "data": "breast_cancer",
    "model": {"hidden": [4]},
    "training": {"max_epochs": 3},
    "space": {"dropout": {"float": [0.0, 0.5]}},
    "search": {"pruner": "none"},
    "budget": {"trials": 3},
    "confirm": "off",
    "resources": {"executor": "local", "concurrent": 1},
})
"""


def html_of(cell: Any) -> list[str]:
    return [o["data"]["text/html"] for o in cell["outputs"] if "text/html" in o.get("data", {})]


def test_a_sweep_shows_its_progress_itself_and_its_report(tmp_path: Path) -> None:
    cells = [RUN, "sweep", "sweep.report()", "sweep.trials", "sweep.best_model()"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    environment = {"GAPSWEEP_HOME": str(tmp_path / "home"), "GAPSWEEP_MLFLOW_URI": "off"}
    set_up = "".join(f"%env {name}={value}\n" for name, value in environment.items())
    notebook.cells.insert(0, nbformat.v4.new_code_cell(set_up))
    NotebookClient(
        notebook,
        timeout=int(patience(300)),
        resources={"metadata": {"path": str(tmp_path)}},
        kernel_name="python3",
    ).execute()
    _, run, sweep, report, trials, model = notebook.cells
    (progress,) = html_of(run)
    assert "3 complete" in progress
    assert "notebook-" in progress
    (shown,) = html_of(sweep)
    assert "<table" in shown
    assert "params.dropout" in shown
    (page,) = html_of(report)
    assert "<iframe" in page
    (table,) = html_of(trials)
    assert "val/loss" in table
    assert "Linear" in model["outputs"][0]["data"]["text/plain"]
