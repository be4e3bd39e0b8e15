"""The page in a real browser: on a phone, on a screen, in print, by keyboard, in the dark."""

import asyncio
import os
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("jinja2")

from irllrec_pyg.report import build, render

from ..browser import Page, find
from .conftest import make_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find() is None, reason="no browser: apt-get install chromium"),
]
TEXTS = Path(__file__).parents[2] / "benchmarks" / "results" / "texts"
HOSTILE = '"><script>document.title=1<!--'
#: How far the page and its body are wider than the window, and texts of pictures that lie outside.
WIDER = """
Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth
"""
OUTSIDE = """
[...document.querySelectorAll("figure > svg text")].filter(text => {
  const own = text.getBoundingClientRect(), all = text.ownerSVGElement.getBoundingClientRect();
  return own.left < all.left - 1 || own.right > all.right + 1;
}).length
"""
#: Whether what a table says and its first value are in sight before anybody scrolls.
IN_SIGHT = """
["caption span", "td.number"].every(name => {
  const found = document.querySelector(name), one = name == "td.number" ? found.firstChild : found;
  const place = document.createRange(); place.selectNode(one);
  const {left, right} = place.getBoundingClientRect(); return left >= 0 && right <= innerWidth;
})
"""
NAMES = "[...document.querySelector('table').tBodies[0].rows].map(r => r.cells[0].innerText)"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of runs, one with a hostile name, and one of a committed study."""
    root = tmp_path_factory.mktemp("pages")
    folders = [make_run(root / "ease"), make_run(root / "lightgcn_int", "lightgcn_int", 0.05)]
    folders.append(make_run(root / HOSTILE, "lightgcn_plus", 0.02))
    found = {"runs": root / "runs.html", "study": root / "study.html"}
    found["runs"].write_text(render(build(folders), "html"), encoding="utf-8")
    found["study"].write_text(render(build([TEXTS]), "html"), encoding="utf-8")
    return found


def saved(tmp_path, name):
    """Where a picture goes: to the folder of PICTURES for who wants to look, else nowhere."""
    return Path(os.environ.get("PICTURES", tmp_path), name)


@pytest.mark.parametrize("name", ["runs", "study"])
@pytest.mark.parametrize(
    ("view", "width", "options"),
    [
        ("phone", 390, {}),
        ("screen", 1280, {}),
        ("dark", 1280, {"dark": True}),
        ("print", 1032, {"print": True}),  # A4 across, less its margins
        ("plain", 390, {"scripts": False}),
    ],
)
def test_nothing_is_wider_than_the_window(pages, tmp_path, name, view, width, options):
    async def look():
        async with Page(pages[name], width, **options) as page:
            picture = saved(tmp_path, f"{name}-{view}.png")
            await page.picture(picture)
            if view != "plain":  # a page without scripts cannot be asked by one
                assert await page.ask(WIDER) <= 0
                assert await page.ask(OUTSIDE) == 0
                assert await page.ask(IN_SIGHT)
            size = (await page.call("Page.getLayoutMetrics"))["cssContentSize"]
            assert size["width"] <= width
            assert size["height"] > 500
            assert page.errors() == []
            assert picture.stat().st_size > 10_000

    asyncio.run(look())


def test_a_hostile_name_does_nothing(pages):
    async def look():
        async with Page(pages["runs"], 1280) as page:
            assert await page.ask("document.title") == "Recommendation on sample"
            assert any(HOSTILE in name for name in await page.ask(NAMES))
            assert page.errors() == []

    asyncio.run(look())


def test_tables_are_sorted_by_click_and_by_keyboard(pages):
    column = "[...document.querySelectorAll('thead button')].find(b => b.innerText == 'recall@20')"
    sorted_by = f"{column}.closest('th').getAttribute('aria-sort')"

    async def look():
        async with Page(pages["runs"], 1280) as page:
            before = await page.ask(NAMES)
            assert before[0] == "ease"
            assert before[1] == "lightgcn_int"
            await page.ask(f"{column}.click()")
            assert [name[:4] for name in await page.ask(NAMES)] == ["ligh", HOSTILE[:4], "ease"]
            await page.ask(f"{column}.focus()")
            await page.press("Enter", 13)
            assert await page.ask(sorted_by) == "ascending"
            assert [name[:4] for name in await page.ask(NAMES)] == ["ease", HOSTILE[:4], "ligh"]
            await page.press("Enter", 13)
            assert await page.ask(sorted_by) is None
            assert await page.ask(NAMES) == before

    asyncio.run(look())


def test_the_keyboard_reaches_tables_that_scroll(pages):
    async def look():
        async with Page(pages["study"], 390) as page:
            wide = "document.querySelector('.scroll')"
            assert await page.ask(f"{wide}.scrollWidth > {wide}.clientWidth")
            await page.ask(f"{wide}.focus()")
            assert await page.ask(f"document.activeElement === {wide}")
            for _ in range(20):  # a browser that was just started may not listen yet
                await page.press("ArrowRight", 39)
                await asyncio.sleep(0.2)
                if moved := await page.ask(f"{wide}.scrollLeft"):
                    break
            assert moved > 0

    asyncio.run(look())
