"""A shop as its owner keeps it: CSVs with everything that goes wrong in them."""

import csv
from pathlib import Path

import numpy as np

SUBJECTS = ["cooking pasta sauce", "space rocket planet", "football goal match", "piano concert"]


def write_shop(folder: Path) -> None:
    """60 users and 32 items of four subjects, with dates, titles, duplicates and empty rows."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [
        (user_id(user), item_id(item), f"2024-{1 + item % 12:02d}-{1 + user % 28:02d}")
        for user in range(60)
        for item in range(32)
        if rng.random() < (0.9 if item % 4 == user % 4 else 0.1)
    ]
    rows[20:20] = [("", "", ""), ("", "007", "2024-01-01")]
    with (folder / "interactions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("user", "item", "time"), *rows, rows[0], rows[3]])
    items = [
        (item_id(item), title(item), f"author {item % 5}", 5 + item, item % 5 != 0)
        for item in range(32)
    ]
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        head = ("item", "title", "author", "price", "in_stock")
        csv.writer(file).writerows([head, *items, ("002", "again", "x", 1, True)])


def item_id(item: int) -> str:
    """Every third id is unicode, the others begin with zeros."""
    return f"{item:03d}" if item % 3 else f"é{item}"


def user_id(user: int) -> str:
    """The same of users."""
    return f"{user:04d}" if user % 2 else f"用户-{user}"


def title(item: int) -> str:
    """One of four subjects; an item has none."""
    return "" if item == 7 else f"{SUBJECTS[item % 4]} {item}"
