"""The site is built strictly, holds every model, and needs nothing from elsewhere."""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from irllrec_pyg.registry import lookup, names

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "docs" / "models"
KINDS = ("backbone", "head", "ranking-loss", "linear")
# A plug-in of a reader's own, if one is installed, has no page here.
OWN = [
    (kind, name)
    for kind in KINDS
    for name in names(kind)
    if lookup(kind, name).__module__.startswith("irllrec_pyg.")
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    for module in ("material", "mkdocstrings_handlers", "docutils", "nbformat"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs the extra 'docs': no module {module}")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


class Links(HTMLParser):
    """What a page fetches."""

    def __init__(self):
        super().__init__()
        self.fetched = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.fetched.append(attributes.get("src") or "")
        if tag == "link" and attributes.get("rel") in ("stylesheet", "icon", "preload"):
            self.fetched.append(attributes["href"])


def test_pages_fetch_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        links = Links()
        links.feed(page.read_text(encoding="utf-8"))
        strange = [url for url in links.fetched if re.match(r"(https?:)?//", url)]
        assert not strange, (page, strange)


def test_results_are_on_the_site_with_their_pictures(site):
    """Links are written for the repository, where these files lie outside of ``docs``."""
    page = (site / "how-to" / "which-model.html").read_text(encoding="utf-8")
    assert 'href="../benchmarks/results/index.html#what-texts-bring"' in page
    study = site / "benchmarks" / "results" / "texts"
    links = Links()
    links.feed((study / "index.html").read_text(encoding="utf-8"))
    assert "gain.png" in links.fetched
    assert (study / "gain.png").stat().st_size > 10_000
    results = (study.parent / "index.html").read_text(encoding="utf-8")
    assert "Rerank</code>" in results
    assert "rerank.py" not in results  # code is not on the site: a link to it is text there
    notebooks = (site / "notebooks" / "index.html").read_text(encoding="utf-8")
    assert 'href="3-cold-start.html"' in notebooks


PAGES = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere_in_the_repository_too(page):
    text = re.sub(
        r"^```.*?^```$|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    for target in re.findall(r"\]\(([^()\s#]+)[^()\s]*\)", text):
        if not re.match(r"\w+:", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(("kind", "name"), OWN)
def test_every_model_has_its_place(kind, name):
    """A heading with its name, its class, and the link to its settings."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(MODELS.glob("*.md")))
    home = "irllrec_pyg.linear" if kind == "linear" else "irllrec_pyg.nn"
    (section,) = [
        part
        for part in re.split(r"\n#+ ", text)
        if part.startswith(f"`{name}`\n") and f"#{kind}-{name})" in part
    ]
    assert f"\n::: {home}.{lookup(kind, name).__name__}\n" in section


def test_formulas_and_citations_are_shown(site):
    page = (site / "models" / "closed-forms.html").read_text(encoding="utf-8")
    ease = page.split('id="irllrec_pyg.linear.EASE"')[1].split("<h4")[0]
    assert "Embarrassingly Shallow Autoencoders" in ease
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in ease
    assert ":math:" not in page
    assert "href=" in ease.split("MemoryError")[0]


def test_parity_is_told_as_it_is_tested():
    """An equals sign where there is a case of the published code, and nowhere else."""
    cases = {path.name for path in (ROOT / "tests" / "parity" / "cases").iterdir() if path.is_dir()}
    text = (MODELS / "published.md").read_text(encoding="utf-8")
    told = set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        found = re.fullmatch(r"`(\w+)`(?:, .*)?", cells[0])
        if found and len(cells) == 5:
            told |= {
                found[1] + ending
                for ending, cell in zip(("", "_plus", "_gene", "_int"), cells[1:], strict=True)
                if cell == "="
            }
    assert told == cases - {"data"}
    assert f"of {len(told)} models" in text
