"""The graphs that arms are built on: a table folder, split anew, with texts or what stands in."""

import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import torch
from torch_geometric.data import HeteroData

from ..datasets import TableDataset
from ..datasets.placebo import NoiseTexts, PermuteTexts
from ..datasets.splits import Kind
from ..edges import EDGE_TYPE, REVERSE_TYPE, known_pairs
from ..provenance import hashes
from .config import StudyConfig

#: Kinds of texts, and what they are.
TEXTS = {
    "none": "no text",
    "real": "the items' texts",
    "titles": "the items' titles alone",
    "permuted": "the items' texts, each given to another item",
    "noise": "normal noise of the same mean and covariance as the texts' embeddings",
}
#: Settings, by the kind of split and the share of random interactions that training gets besides.
SPLITS: dict[str, tuple[Kind, float]] = {
    "warm": ("random", 0.0),
    "cold_items": ("cold-items", 0.0),
    "cold_users": ("cold-users", 0.0),
    "noisy_5": ("random", 0.05),
    "noisy_10": ("random", 0.10),
    "noisy_25": ("random", 0.25),
}
TITLE = "title"  # the column of titles


class Inputs:
    """Graphs of table folders by data set, setting, split and kind of text.

    Where no column of intents is named, the texts are the intents as well.

    Args:
        root (Path): Folder of the table folders.
        rules (StudyConfig): Encoder, k-core and shares.
    """

    def __init__(self, root: Path, rules: StudyConfig) -> None:
        self.root, self.rules = root, rules
        self._dataset = lru_cache(maxsize=4)(self._open)  # arms of one split come one after another

    def graph(self, name: str, setting: str, split: int, text: str) -> HeteroData:
        """The graph of one arm and split; placebos and random interactions are drawn anew with
        each split.

        Raises:
            ValueError: If the kind of text says nothing here; the message says why.
        """
        kind, share = SPLITS[setting]
        data: HeteroData = self._dataset(name, kind, split, text == "titles")[0].clone()
        if share:
            add_random(data, share, split)
        if text == "none":
            for field in ("x", "intent"):
                for side in ("user", "item"):
                    if field in data[side]:
                        del data[side][field]
            return data
        if "x" not in data["item"]:
            raise ValueError(f"{name} has no texts of items.")
        if text == "titles":
            real = self._dataset(name, kind, split, False)[0]
            if torch.equal(real["item"].x, data["item"].x):
                raise ValueError(f"The texts of {name} are its titles.")
        if text in PLACEBOS:
            data = PLACEBOS[text](split)(data)
        if "intent" not in data["item"]:
            data["item"].intent = data["item"].x
        return data

    def origin(
        self, data: HeteroData, name: str, setting: str, split: int, text: str
    ) -> dict[str, Any]:
        """What rows say of a graph: its hash, encoder, and how much text was read."""
        none = text == "none"
        dataset = self._dataset(name, SPLITS[setting][0], split, text == "titles")
        return {
            "data_hash": hashes(data),
            "encoder": "" if none else self.rules.encoder,
            "width": 0 if none else data["item"].x.size(1),
            "characters": 0 if none else sum(map(len, dataset.texts)),
        }

    def _open(self, name: str, kind: Kind, split: int, titles: bool) -> TableDataset:
        with warnings.catch_warnings():
            warnings.simplefilter("once")  # items without texts are the same in every split
            return TableDataset(
                self.root,
                name,
                k_core=self.rules.k_core,
                split=kind,
                shares=self.rules.shares,
                seed=split,
                text=TITLE if titles else None,
                intent=self.rules.intent,
                encoder=self.rules.encoder,
                text_rank=self.rules.text_rank,
            )


def add_random(data: HeteroData, share: float, seed: int) -> None:
    """Adds random interactions to those of training, so many for each of them.

    Args:
        data (HeteroData): The graph; is changed.
        share (float): Random interactions for each one of training.
        seed (int): Of the draw.
    """
    train, num_items = data[EDGE_TYPE].edge_index, data["item"].num_nodes
    known = known_pairs(data)
    taken = known[0] * num_items + known[1]
    generator = torch.Generator().manual_seed(seed)
    wanted = round(share * train.size(1))
    # Every user gets some in proportion to the training interactions they have.
    user = train[0, torch.randint(train.size(1), (3 * wanted,), generator=generator)]
    item = torch.randint(num_items, (3 * wanted,), generator=generator)
    key = user * num_items + item
    key = key[~torch.isin(key, taken)]
    _, first = torch.unique(key, return_inverse=True)
    order = torch.arange(len(key)).flip(0)
    place = torch.empty(int(first.max()) + 1, dtype=torch.long).scatter_(0, first[order], order)
    key = key[place.sort().values][:wanted]
    whole = torch.cat([train[0] * num_items + train[1], key]).sort().values
    data[EDGE_TYPE].edge_index = torch.stack([whole // num_items, whole % num_items])
    if REVERSE_TYPE in data.edge_types:
        data[REVERSE_TYPE].edge_index = data[EDGE_TYPE].edge_index.flip(0)
