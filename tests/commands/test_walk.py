"""The way from CSVs to a report in docs/walk.md, as its script goes it."""

import shlex
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import walk

from irllrec_pyg.cli import main


def test_the_page_shows_the_commands_of_the_script():
    page = walk.PAGE.read_text(encoding="utf-8")
    assert [step.command for step in walk.steps(walk.SHOP)] == [
        line.removeprefix("$ ") for line in page.splitlines() if line.startswith("$ ")
    ]
    for step in walk.steps(walk.STEAM):
        if step.command.startswith("irllrec"):
            assert f"| `{step.command.split(' && ')[0]}` |" in page


def test_a_section_takes_the_place_of_its_own_alone(tmp_path):
    page = tmp_path / "walk.md"
    for name, section in (("shop", "first\n"), ("steam", "games\n"), ("shop", "later\n")):
        walk.put(page, name, section)
    text = page.read_text()
    assert "first\n" not in text
    assert text.index("later") < text.index("games") < text.index("<!-- end of steam -->")


@pytest.mark.slow
def test_the_whole_way_in_one_process(raw_shop, tmp_path, monkeypatch, capsys):
    """Every command but the server's, with two settings tried and not twenty."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").symlink_to(raw_shop)
    Path("arrivals.csv").write_text(walk.SHOP.arrivals)
    for step in walk.steps(walk.SHOP):
        command = step.command.split(" && ")[0]
        if not command.startswith("irllrec") or command.endswith("&"):
            continue
        tried = ["--trials", "2"] if " train " in command else []
        status = main([*shlex.split(command)[1:], *tried])
        assert status == (2 if command.endswith("check raw") else 0)
        printed = capsys.readouterr().out
        if " similar " in command:
            assert printed.count("cooking") == 3
        if " explain " in command:
            assert "add up to the score" in printed
    assert len(Path("lists.csv").read_text().splitlines()) == 601
    assert "<table" in Path("report.html").read_text()


@pytest.mark.slow
def test_the_whole_way_by_shell(tmp_path):
    """As a newcomer goes it: processes of the default model, a server and requests to it."""
    pytest.importorskip("uvicorn")
    assert walk.main(["--out", str(tmp_path / "walk.md")]) == 0
    page = (tmp_path / "walk.md").read_text(encoding="utf-8")
    rows = [line.split() for line in page.splitlines() if line.startswith("shop ")]
    value = {model: float(recall) for _, model, recall, *_ in rows}
    assert value["runs/shop"] > value["popularity"]
    assert '"id":"010"' in page
    assert str(tmp_path) not in page
