"""The graphs that arms are built on: a table folder, split anew, with texts or what stands in."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData

from ..provenance import hashes
from .config import StudyConfig
from .tables import TableDataset

PLACEBOS = {}  # until they are there

#: Kinds of texts, and what they are.
TEXTS = {
    "none": "no text",
    "real": "the items' texts",
    "titles": "the items' titles alone",
    "permuted": "the items' texts, each given to another item",
    "noise": "normal noise of the same mean and covariance as the texts' embeddings",
}
#: Settings by the names of the data sets' splits.
SPLITS = {"warm": "random", "cold_items": "cold-items", "cold_users": "cold-users"}
TITLE = "title"  # the column of titles


class Inputs:
    """Graphs of table folders by data set, setting, split and kind of text.

    Args:
        root (Path): Folder of the table folders.
        rules (StudyConfig): Encoder, k-core and shares.
    """

    def __init__(self, root: Path, rules: StudyConfig) -> None:
        self.root, self.rules = root, rules
        self._dataset = lru_cache(maxsize=4)(self._open)  # arms of one split come one after another

    def graph(self, name: str, setting: str, split: int, text: str) -> HeteroData:
        """The graph of one arm and split; the placebos are drawn anew with each split.

        Raises:
            ValueError: If the kind of text says nothing here; the message says why.
        """
        data = self._dataset(name, setting, split, text == "titles")[0].clone()
        if text == "none":
            for side in ("user", "item"):
                for field in ("x", "intent"):
                    if field in data[side]:
                        del data[side][field]
            return data
        if data["item"].get("x") is None:
            raise ValueError(f"{name} has no texts of items.")
        if text == "titles":
            real = self._dataset(name, setting, split, False)[0]
            if torch.equal(real["item"].x, data["item"].x):
                raise ValueError(f"The texts of {name} are its titles.")
        if text in PLACEBOS:
            data = PLACEBOS[text](seed=split)(data)
        return data

    def origin(self, data: HeteroData, name: str, setting: str, split: int, text: str) -> Any:
        """What rows say of a graph: its hash, encoder, and how much text was read."""
        texts = (
            [] if text == "none" else self._dataset(name, setting, split, text == "titles").texts
        )
        return {
            "data_hash": hashes(data),
            "encoder": "" if text == "none" else self.rules.encoder,
            "width": 0 if text == "none" else data["item"].x.size(1),
            "characters": sum(map(len, texts)),
        }

    def _open(self, name: str, setting: str, split: int, titles: bool) -> TableDataset:
        return TableDataset(
            self.root,
            name,
            k_core=self.rules.k_core,
            split=SPLITS[setting],
            shares=self.rules.shares,
            seed=split,
            text=TITLE if titles else None,
            encoder=self.rules.encoder,
            text_rank=self.rules.text_rank,
        )
