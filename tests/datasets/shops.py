r"""A made-up shop as a folder of tables, and a made-up encoder."""

import numpy as np
import pandas as pd

from irllrec_pyg.datasets import TableDataset
from irllrec_pyg.edges import EDGE_TYPE
from irllrec_pyg.text.encoding import Encoder

NUM_USERS, NUM_ITEMS = 20, 15


class Letters(Encoder):
    r"""Counts letters, and remembers what it was asked for."""

    name = "letters"

    def __init__(self, dies_after=None):
        self.asked, self.dies_after = [], dies_after

    batch_size = 4

    def vectors(self, texts):
        if self.dies_after is not None and len(self.asked) >= self.dies_after:
            raise RuntimeError("the power is gone")
        self.asked += texts
        return letters(texts)


def letters(texts):
    return np.array([[t.count(chr(97 + at)) for at in range(26)] for t in texts], np.float32)


def tables():
    r"""Interactions with two rare users and a rare item, and items with texts of random letters."""
    rng = np.random.default_rng(0)
    pairs = [
        (f"{user:03}", f"{item:02}", int(rng.integers(50)))
        for user in range(NUM_USERS)
        for item in rng.permutation(NUM_ITEMS)[: 9 if user > 1 else 2]
    ]
    pairs += [("005", "99", 3)]
    pairs += [pair for pair in pairs if pair[0] < "002"] * 4  # rare users, who come back often
    words = ["".join(chr(97 + c) for c in rng.integers(0, 26, 12)) for _ in range(NUM_ITEMS + 2)]
    items = [
        (f"{at:02}", f"Title {word[:3]}", word, word[::-1]) for at, word in enumerate(words)
    ] + [("99", "Rare", "rare", "r")]
    return (
        pd.DataFrame(pairs, columns=["user", "item", "time"]),
        pd.DataFrame(items, columns=["item", "title", "text", "brand"]),
    )


def write(folder, interactions=None, items=None, end=".csv"):
    folder.mkdir(parents=True, exist_ok=True)
    made = tables()
    for stem, table, default in zip(
        ("interactions", "items"), (interactions, items), made, strict=True
    ):
        table = default if table is None else table
        table.to_csv(folder / f"{stem}{end}", sep="\t" if ".tsv" in end else ",", index=False)
    return folder


def opened(root, encoder=None, **settings):
    return TableDataset(root, "shop", encoder=encoder or Letters(), **settings)


def pairs_of(data):
    users, items = data["user"].raw_id, data["item"].raw_id
    return [
        {(users[u], items[i]) for u, i in data[EDGE_TYPE][key].t().tolist()}
        for key in ("edge_index", "val_edge_label_index", "edge_label_index")
    ]
