"""ARCHITECTURE.md says what may import what; the package keeps to it."""

import ast
import re
from pathlib import Path

import pytest

import irllrec_pyg

ROOT = Path(__file__).parent.parent
PACKAGE = Path(irllrec_pyg.__file__).parent
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def layers():
    """What the table lists, row by row."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text[text.index("| | what it is |") :].split("\n\n")[0].splitlines()[2:]
    rows = [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in table]
    return [row for row in rows if row != ["benchmarks/"]]


def level(path):
    """The row of a file; one that is named alone counts before its folder."""
    found = [
        (len(name), row)
        for row, names in enumerate(layers())
        for name in names
        if path.match(name) or (name.endswith("/") and path.as_posix().startswith(name))
    ]
    return max(found)[1] if found else None


def imports(path):
    """Modules of the package that a file imports, at whatever place, as files."""
    for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        parts = (node.module or "").split(".") if node.module else []
        if node.level:
            parts = [*path.parts[: len(path.parts) - node.level], *parts]
        elif parts[:1] == ["irllrec_pyg"]:
            parts = parts[1:]
        else:
            continue
        for name in node.names:
            for target in ([*parts, name.name], parts):
                file = Path(*target, "__init__.py")
                file = file if (PACKAGE / file).exists() else Path(*target).with_suffix(".py")
                if target and (PACKAGE / file).exists():
                    yield file
                    break


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_module_imports_nothing_from_below(path):
    if path.name == "__init__.py" and len(path.parts) <= 2:
        return  # hands on what is in its folder
    own = level(path)
    assert own is not None, f"ARCHITECTURE.md does not say where {path} belongs"
    below = [str(file) for file in imports(path) if level(file) > own]
    assert not below


def test_the_table_is_read():
    assert len(layers()) == 8
    assert level(Path("datasets/movielens.py")) > level(Path("datasets/times.py")) > 0
    assert Path("nn/batch.py") in set(imports(Path("nn/heads/base.py")))
