"""Every page is tried as a reader would: its blocks are run, one after the other."""

import os
import shlex
from pathlib import Path

import pytest

from irllrec_pyg.cli import build_parser
from irllrec_pyg.ranking import evaluate

from .blocks import blocks, commands, run_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
START = DOCS / "how-to" / "own-tables.md"  # makes the bookshop and its run, which others take
ALL = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
# Those with commands that install this package are run from a clean clone, by `.ci/run`.
OF_CI = (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
PAGES = [
    path
    for path in ALL
    if path not in (START, *OF_CI) and blocks(path.read_text(encoding="utf-8"), "python", "bash")
]


@pytest.fixture(scope="module")
def bookshop(tmp_path_factory):
    """The folder in which the first page was tried."""
    for module in ("wordllama", "optuna", "sklearn"):
        pytest.importorskip(module)
    folder, before = tmp_path_factory.mktemp("bookshop"), Path.cwd()
    os.chdir(folder)
    try:
        run_page(START)
    finally:
        os.chdir(before)
    return folder


def test_the_first_page_leaves_what_it_says(bookshop):
    assert (bookshop / "runs" / "shop" / "model.safetensors").exists()
    assert (bookshop / "lists.csv").read_text().count("\n") > 1000
    assert (bookshop / "data" / "back" / "interactions.csv").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_works(page, bookshop, monkeypatch):
    monkeypatch.chdir(bookshop)
    names = run_page(page)
    if "gat" in names:  # "what it must beat, and does"
        data = names["data"]
        better = evaluate(names["gat"], data)["recall@20"]
        assert better > evaluate(names["Popularity"](data), data)["recall@20"]


def test_what_the_readme_says_is_there(bookshop, monkeypatch):
    monkeypatch.chdir(bookshop)
    names = run_page(ROOT / "README.md", languages=("python",))
    assert (bookshop / "runs" / "first" / "model.safetensors").exists()
    assert set(names["tale"].recommend("ann", k=3)["user"]) == {"ann"}


@pytest.mark.parametrize("page", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_have_the_options_that_are_shown(page):
    """Also those that are not run, as they serve, cost money or take long."""
    text = page.read_text(encoding="utf-8")
    for _, code in blocks(text, "bash", "console"):
        for arguments in commands(code):
            _, unknown = build_parser(arguments[0]).parse_known_args(arguments)
            settings = [word for word in unknown if not word.startswith("--")]
            assert unknown == [] or arguments[0] in ("train", "tune"), shlex.join(arguments)
            assert len(settings) <= len(unknown) / 2, shlex.join(arguments)
