"""A shop as its owner keeps it: CSVs with everything that goes wrong in them."""

import csv

import numpy as np
import pytest

from irllrec_pyg.cli import main

SUBJECTS = ["cooking pasta sauce", "space rocket planet", "football goal match", "piano concert"]


def item_id(item):
    """Every third id is unicode, the others begin with zeros."""
    return f"{item:03d}" if item % 3 else f"é{item}"


def user_id(user):
    """The same of users."""
    return f"{user:04d}" if user % 2 else f"用户-{user}"


def title(item):
    """One of four subjects; an item has none."""
    return "" if item == 7 else f"{SUBJECTS[item % 4]} {item}"


@pytest.fixture(scope="session")
def raw_shop(tmp_path_factory):
    """60 users and 32 items of four subjects, with dates, titles, duplicates and empty rows."""
    folder = tmp_path_factory.mktemp("raw") / "shop"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [
        (
            f"{u:04d}" if u % 2 else f"用户-{u}",
            item_id(i),
            f"2024-{1 + i % 12:02d}-{1 + u % 28:02d}",
        )
        for u in range(60)
        for i in range(32)
        if rng.random() < (0.9 if i % 4 == u % 4 else 0.1)
    ]
    rows[20:20] = [("", "", ""), ("", "007", "2024-01-01")]
    with (folder / "interactions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("user", "item", "time"), *rows, rows[0], rows[3]])
    items = [
        (
            item_id(i),
            "" if i == 7 else f"{SUBJECTS[i % 4]} {i}",
            f"author {i % 5}",
            5 + i,
            i % 5 != 0,
        )
        for i in range(32)
    ]
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        head = ("item", "title", "author", "price", "in_stock")
        csv.writer(file).writerows([head, *items, ("002", "again", "x", 1, True)])
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
