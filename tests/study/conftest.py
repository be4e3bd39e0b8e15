"""A folder of tables in which texts say what users like."""

import numpy as np
import pandas as pd
import pytest

SUBJECTS = ["cooking pasta sauce", "space rocket planet", "football goal match", "piano concert"]


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """The root of the table folder ``shop``: 80 users, 40 items of four subjects."""
    pytest.importorskip("wordllama")  # the default encoder
    root = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    rows = []
    for user in range(80):
        chance = np.where(np.arange(40) % 4 == user % 4, 0.6, 0.05)
        rows += [(f"u{user}", f"i{item}") for item in np.flatnonzero(rng.random(40) < chance)]
    (root / "shop").mkdir()
    interactions = pd.DataFrame(rows, columns=["user", "item"])
    interactions.to_csv(root / "shop" / "interactions.csv.gz", index=False)
    titles = [f"{SUBJECTS[item % 4].split()[0]} {item}" for item in range(40)]
    texts = [f"{title}, {SUBJECTS[item % 4]}" for item, title in enumerate(titles)]
    items = {"item": [f"i{item}" for item in range(40)], "title": titles, "text": texts}
    pd.DataFrame(items).to_csv(root / "shop" / "items.csv.gz", index=False)
    return root
