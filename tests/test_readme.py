"""What the README promises is run."""

import re
from pathlib import Path

import pytest

from irllrec_pyg.ranking import evaluate

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_every_python_example_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("wordllama")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "recall@20" in printed
    popular, gat = (
        evaluate(names[name], names["data"])["recall@20"]
        if name == "gat"
        else evaluate(names["Popularity"](names["data"]), names["data"])["recall@20"]
        for name in ("popular", "gat")
    )
    assert gat > popular
    assert (tmp_path / "runs" / "first" / "model.safetensors").exists()
    assert set(names["small"].recommend("ann", k=3)["user"]) == {"ann"}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w./-]+)\)", README))))
def test_links_lead_somewhere(path):
    assert (Path(__file__).parents[1] / path).exists()
