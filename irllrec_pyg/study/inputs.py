"""The graphs that arms are built on: a table folder, split anew, with texts or what stands in."""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData, InMemoryDataset

from ..datasets import TableDataset
from ..datasets.config import DataConfig
from ..datasets.placebo import NoiseTexts, PermuteTexts, RandomInteractions
from ..datasets.splits import Kind
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
SPLITS: dict[str, tuple[Kind | None, float]] = {
    "warm": ("random", 0.0),
    "cold_items": ("cold-items", 0.0),
    "cold_users": ("cold-users", 0.0),
    "noisy_5": ("random", 0.05),
    "noisy_10": ("random", 0.10),
    "noisy_25": ("random", 0.25),
    "given": (None, 0.0),  # what a published data set comes with
}
PLACEBOS = {"permuted": PermuteTexts, "noise": NoiseTexts}
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
        self._open = lru_cache(maxsize=4)(self._opened)  # arms of a split come one after another

    def graph(self, name: str, setting: str, split: int, text: str) -> HeteroData:
        """The graph of one arm and split; placebos and random interactions are drawn anew with
        each split.

        Raises:
            ValueError: If the kind of text says nothing here; the message says why.
        """
        kind, share = SPLITS[setting]
        data: HeteroData = self._dataset(name, kind, split, text == "titles").clone()
        if share:
            data = RandomInteractions(share, split)(data)
        if text == "none":
            for field in ("x", "intent"):
                for side in ("user", "item"):
                    if field in data[side]:
                        del data[side][field]
            return data
        if "x" not in data["item"]:
            raise ValueError(f"{name} has no texts of items.")
        if text == "titles" and kind is None:
            raise ValueError(f"{name} has embeddings, and no titles.")
        if text == "titles":
            real = self._dataset(name, kind, split, False)
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
        dataset = self._open(name, SPLITS[setting][0], split, text == "titles")
        return {
            "data_hash": hashes(data),
            "encoder": "" if none else self.rules.encoder,
            "width": 0 if none else data["item"].x.size(1),
            "characters": 0 if none else sum(map(len, getattr(dataset, "texts", ()))),
        }

    def _dataset(self, name: str, kind: Kind | None, split: int, titles: bool) -> HeteroData:
        graph: HeteroData = self._open(name, kind, split, titles)[0]  # type: ignore[assignment]
        return graph

    def _opened(self, name: str, kind: Kind | None, split: int, titles: bool) -> InMemoryDataset:
        if kind is None:
            if any(Path(self.root, name).glob("interactions.*")):
                raise ValueError(f"{name} is a folder of tables, which comes with no split.")
            return DataConfig(name=name, root=str(self.root)).open()
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
