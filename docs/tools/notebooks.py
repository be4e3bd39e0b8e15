"""The notebooks: run again in place, and shown as pages.

``python docs/tools/notebooks.py [NOTEBOOK ...]`` runs them, or all, and keeps what they print.
"""

import html
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each notebook; a hook of MkDocs."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        notebook = nbformat.read(file.abs_src_path, as_version=4)
        page = file.src_uri.removesuffix("ipynb") + "md"
        files.append(File.generated(config, page, content=to_markdown(notebook, Path(page).stem)))
    return files


def to_markdown(notebook: nbformat.NotebookNode, name: str) -> str:
    """The cells of a notebook and what they gave, as a page."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code":
            parts.append(f"```python\n{cell.source}\n```")
            parts += [_shown(output) for output in cell.outputs]
    parts.insert(1, f"*This page is a notebook: [{name}.ipynb]({name}.ipynb).*")
    return "\n\n".join(parts) + "\n"


def _shown(output: nbformat.NotebookNode) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        picture = data["image/png"].replace("\n", "")
        return f'<img alt="picture made by the cell above" src="data:image/png;base64,{picture}">'
    if "text/html" in data:
        table = re.sub(r"<style.*?</style>|\n\s*", "", data["text/html"], flags=re.DOTALL)
        return f'<div class="output">{table}</div>'
    text = output.get("text", data.get("text/plain", ""))
    return f'<pre class="output">{html.escape(text)}</pre>'


def run(path: Path) -> None:
    """Runs a notebook in a kernel of this Python, in its folder, and writes it with its outputs."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ from run to run
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(FOLDER.glob("*.ipynb")):
        run(path)
        print(path.name)
