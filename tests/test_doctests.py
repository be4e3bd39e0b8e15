"""The examples in docstrings are run."""

import doctest
import importlib
import pkgutil

import pytest

import irllrec_pyg

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(irllrec_pyg.__path__, "irllrec_pyg.")
    if not name.startswith("irllrec_pyg.datasets.sample")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name, tiny_data, tmp_path, monkeypatch):
    """Each example finds a small data set in ``data`` and the package's own names."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    names = {"data": tiny_data, "root": str(tmp_path)}
    for public in ("", ".nn", ".linear", ".ranking", ".training", ".datasets"):
        home = importlib.import_module(f"irllrec_pyg{public}")
        names |= vars(home)
        names |= {name: getattr(home, name) for name in getattr(home, "__all__", ())}
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    said: list[str] = []
    for test in finder.find(module, name, extraglobs=None):
        test.globs = {**names, **vars(module), "data": tiny_data}
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [
        test
        for name in MODULES
        for test in finder.find(importlib.import_module(name), name)
        if test.examples
    ]
    assert len(found) >= 11
