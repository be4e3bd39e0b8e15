"""A shop as its owner keeps it: CSVs with everything that goes wrong in them."""

import sys
from pathlib import Path

import pytest

from irllrec_pyg.cli import main

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from walk_shop import write_shop


@pytest.fixture(scope="session")
def raw_shop(tmp_path_factory):
    """60 users and 32 items of four subjects, with dates, titles, duplicates and empty rows."""
    folder = tmp_path_factory.mktemp("raw") / "shop"
    write_shop(folder)
    return folder


@pytest.fixture(scope="session")
def shop(raw_shop):
    """The same folder without rows that have no id."""
    folder = raw_shop.parent / "clean"
    assert main(["data", "convert", str(raw_shop), str(folder), "--to", "tables"]) == 0
    return folder


@pytest.fixture(scope="session")
def run_folder(shop):
    """A run of EASE on it."""
    folder = shop.parent / "ease"
    arguments = ["--model", "ease", "--trials", "1", "--encoder", "none", "--quiet"]
    assert main(["train", "--data", str(shop), "--out", str(folder), *arguments]) == 0
    return folder
