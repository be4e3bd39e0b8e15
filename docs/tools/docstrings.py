"""Docstrings are reStructuredText, as in PyG, and pages are Markdown: both become HTML.

docutils writes formulas as MathML, which browsers show without a script.
"""

import re
from html import escape
from typing import Any

import griffe
from docutils import nodes
from docutils.core import publish_parts
from docutils.parsers.rst import roles
from griffe import DocstringSectionKind

ROLES = ("attr", "class", "data", "func", "meth", "mod")
MARKUP = re.compile(r":[a-z]+:`|>>> |^\s*\.\. |`__?\b|::$", re.MULTILINE)
LITERAL = re.compile(r'<span class="docutils literal">(.*?)</span>', re.DOTALL)
SETTINGS = {
    "math_output": "MathML",
    "report_level": 2,
    "halt_level": 2,  # what docutils warns of stops the build
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "embed_stylesheet": False,
    "initial_header_level": 4,
    "syntax_highlight": "none",
}


class Docstrings(griffe.Extension):
    """Gives every docstring its HTML."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Converts what is text in an object's docstring: of sections, arguments, errors."""
        if obj.docstring is None:
            return
        _scope.append(obj)
        for section in obj.docstring.parsed:
            if section.kind is DocstringSectionKind.text:
                section.value = to_html(section.value)
            elif section.kind is DocstringSectionKind.admonition:
                section.value.description = to_html(section.value.description)
            elif section.kind is DocstringSectionKind.examples:
                section.value = [
                    (kind, to_html(text) if kind is DocstringSectionKind.text else text)
                    for kind, text in section.value
                ]
            elif isinstance(section.value, list):
                for part in section.value:
                    part.description = to_html(part.description)
        _scope.pop()


_scope: list[griffe.Object] = []  # whose docstring is converted, for names that are relative to it


def to_html(text: str) -> str:
    """The HTML of reStructuredText, or text that is Markdown as it is.

    Raises:
        SystemMessage: If docutils warns of something.
    """
    if not MARKUP.search(text):
        return text  # reads the same as Markdown, which takes a tenth of the time
    # docutils knows \bigl and \bigr alone.
    text = re.sub(r"\\([bB]ig)(?=\s*[(\[\\])", r"\\\1l", text)
    text = re.sub(r"\\([bB]ig)(?=\s*[)\]])", r"\\\1r", text)
    html = publish_parts(text, writer="html5", settings_overrides=SETTINGS)["body"]
    html = LITERAL.sub(r"<code>\1</code>", html)
    return f"<div>{html}</div>"


def _reference(role: str, raw: str, text: str, *args: Any, **kwargs: Any) -> Any:
    """A role such as ``:class:`` as a link, where the page of the name exists."""
    short = text.startswith("~")
    name = text.removeprefix("~")
    shown = name.rpartition(".")[2] if short else name
    target = name if name.startswith("irllrec_pyg") else _found(name)
    call = "()" if role in ("func", "meth") and not shown.endswith("()") else ""
    html = f"<code>{escape(shown + call)}</code>"
    if target:
        html = f'<autoref identifier="{escape(target)}" optional>{html}</autoref>'
    return [nodes.raw("", html, format="html")], []


def _found(name: str) -> str:
    """The full name of one that is relative to the object whose docstring it stands in."""
    scope: Any = _scope[-1] if _scope else None
    first = name.partition(".")[0]
    while scope is not None:
        if first in scope.members:
            return f"{scope.path}.{name}"
        scope = scope.parent
    return ""


for _role in ROLES:
    roles.register_local_role(_role, _reference)
