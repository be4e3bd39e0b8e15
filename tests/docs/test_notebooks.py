"""Notebooks run, as scripts here and in a kernel among the slow tests."""

import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path, kind):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def test_there_are_four():
    assert len(NOTEBOOKS) == 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run_in_their_order(path, monkeypatch, tmp_path):
    """With less training than is shown."""
    for module in ("wordllama", "optuna", "matplotlib", "IPython"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = {"__name__": "__main__"}
    for number, cell in enumerate(cells(path, "code")):
        source = re.sub(r"(epochs|trials)=\d+", r"\1=2", cell.source)
        exec(compile(source, f"{path.name}, cell {number}", "exec"), names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_kept_small_and_as_they_ran(path):
    assert path.stat().st_size < 250_000
    numbers = [cell.execution_count for cell in cells(path, "code")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert not [
        output
        for cell in cells(path, "code")
        for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert str(Path.home()) not in path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_kernel_runs_them(path, tmp_path, monkeypatch):
    for module in ("wordllama", "optuna", "nbclient", "ipykernel", "mkdocs"):
        pytest.importorskip(module)
    root = FOLDER.parents[1]
    monkeypatch.setenv("PYTHONPATH", str(root))  # of a checkout that is not installed
    monkeypatch.syspath_prepend(str(root / "docs" / "tools"))
    monkeypatch.delitem(sys.modules, "notebooks", raising=False)
    import notebooks

    copy = tmp_path / path.name
    shutil.copy(path, copy)
    notebooks.run(copy)
    for cell in cells(copy, "code"):
        if cell.source.endswith("rates.round(2)"):  # of explanations that name a true intent
            named, chance = re.findall(r"0\.\d+", cell.outputs[-1]["data"]["text/plain"])
            assert float(named) > 3 * float(chance)
