"""Made-up shops whose texts say what tastes go by, or do not."""

from pathlib import Path

import numpy as np
import pandas as pd

COLOURS = (
    "crimson",
    "azure",
    "olive",
    "amber",
    "violet",
    "ivory",
    "teal",
    "ochre",
    "umber",
    "jade",
)


def write_shop(root: Path, columns: dict[str, list[str]] | None = None, users: int = 120) -> Path:
    """Each user likes one colour; ``text`` names an item's colour, ``title`` does not. Histories
    are short, so that interactions alone do not tell the colours well.
    """
    rng, folder = np.random.default_rng(0), root / "shop"
    folder.mkdir(parents=True)
    size = 240
    colour = np.arange(size) % len(COLOURS)
    liked = [
        rng.choice(np.flatnonzero(colour == user % len(COLOURS)), 5, False) for user in range(users)
    ]
    rows = [(f"u{user}", f"i{item}") for user, items in enumerate(liked) for item in items]
    pd.DataFrame(rows, columns=["user", "item"]).to_csv(folder / "interactions.csv", index=False)
    items = pd.DataFrame(
        {
            "item": [f"i{item}" for item in range(size)],
            "title": [
                f"Thing {rng.integers(1e6):06d} of {rng.integers(1e6):06d}" for _ in range(size)
            ],
            "text": [
                f"One {COLOURS[colour[item]]} thing of kind {rng.integers(9)}."
                for item in range(size)
            ],
        }
        | (columns or {})
    )
    items.to_csv(folder / "items.csv", index=False)
    return folder


def half_told(root: Path) -> Path:
    """Tastes go by two properties; ``text`` names one of them and ``why`` the other."""
    rng, folder = np.random.default_rng(1), root / "shop"
    folder.mkdir(parents=True)
    size, users = 90, 240
    first, second = np.arange(size) % 3, np.arange(size) // 3 % 3
    rows = []
    for user in range(users):
        mine = np.flatnonzero((first == user % 3) & (second == user // 3 % 3))
        rows += [(f"u{user}", f"i{item}") for item in rng.choice(mine, 5, False)]
    pd.DataFrame(rows, columns=["user", "item"]).to_csv(folder / "interactions.csv", index=False)
    pd.DataFrame(
        {
            "item": [f"i{item}" for item in range(size)],
            "text": [f"{COLOURS[first[item]]}" for item in range(size)],
            "why": [f"{COLOURS[3 + second[item]]}" for item in range(size)],
        }
    ).to_csv(folder / "items.csv", index=False)
    return folder
