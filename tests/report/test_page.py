"""The page: one file, well formed, safe whatever names hold, legible in light and dark."""

import re
from html.parser import HTMLParser
from importlib import resources

import pytest

pytest.importorskip("jinja2")

from irllrec_pyg.report import build, render

from .conftest import make_run

VOID = {"meta", "link", "br", "img", "input", "hr"}
HOSTILE = '"><script>document.title=1<!--'


class Outline(HTMLParser):
    """Checks that what is opened is closed, and keeps every tag."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def page(tmp_path, runs):
    """A page of three runs, one of which has a hostile name."""
    hostile = make_run(tmp_path / HOSTILE, "lightgcn_plus", 0.02)
    return render(build([*runs, hostile]), "html")


def test_it_is_well_formed_and_needs_nothing_else(page):
    outline = Outline(page)
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in outline.tags:
        for name in ("aria-labelledby", "href"):
            assert attrs.get(name, ids[0]).lstrip("#") in ids
        assert not {"src", "onclick", "onload"} & set(attrs) or attrs["src"].startswith("data:")
    assert not re.search(r"https?://|url\(|@import", page)
    assert ("html", {"lang": "en"}) in outline.tags
    assert any(attrs.get("name") == "viewport" for _, attrs in outline.tags)


def test_names_are_text(page):
    outline = Outline(page)
    assert [tag for tag, _ in outline.tags].count("script") == 1
    assert any(HOSTILE in text for text in outline.texts)
    (policy,) = [attrs["content"] for _, attrs in outline.tags if "http-equiv" in attrs]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy  # no other script runs


def test_it_is_the_same_every_time(runs):
    assert render(build(runs), "html") == render(build(runs), "html")


def test_marks_stand_beside_colours(page):
    assert "<b>" in page
    assert "<u>" in page
    assert "▲" in page
    marks = re.findall(r'class="mark" transform="translate\(18 6\)" d="([^"]+)"', page)
    gains = page[page.index("Gain over ease") :].split("</figure>")[0]
    own = re.findall(r'class="mark" transform="translate\(18 6\)" d="([^"]+)"', gains)
    assert len(own) == len(set(own)) == 2
    assert set(own) <= set(marks)


def test_where_each_row_comes_from_is_said(page):
    for said in ("irllrec train --config", "irllrec_pyg 9.9.9", "c0ffeec0ffee", "ffffffffffffffff"):
        assert said in page


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    """As the Web Content Accessibility Guidelines 2.2 define it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_suffices():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    style = resources.files("irllrec_pyg.report").joinpath("page.css").read_text(encoding="utf-8")
    themes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(themes) == 3  # light, dark, print
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for ground in ("back", "panel"):
            for name in ("text", "soft", "link"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        for at in range(8):  # lines of pictures
            assert contrast(colours[f"s{at}"], colours["back"]) >= 4.5, at
