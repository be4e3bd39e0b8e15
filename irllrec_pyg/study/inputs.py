"""The graphs that arms are built on: a table folder, split anew, with texts or what stands in."""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import pooch
import torch
from torch_geometric.data import HeteroData, InMemoryDataset

from ..datasets import TableDataset
from ..datasets.config import DataConfig
from ..datasets.placebo import NoiseTexts, PermuteTexts, RandomInteractions
from ..datasets.splits import Kind
from ..datasets.tables import core_of, find_table, read_table
from ..nn.features import narrow_texts
from ..provenance import hashes
from .config import StudyConfig

#: Kinds of texts, and what they are.
TEXTS = {
    "none": "no text",
    "real": "the items' texts",
    "titles": "the items' titles alone",
    "views": "several columns of the items, each embedded by itself, side by side",
    "narrow": "the first principal components of the embeddings of the items' texts",
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
USUAL = ("none", "real", "titles", "permuted", "noise")  # the others are asked for by a rule
TITLE = "title"  # the column of titles
TABLES = ("interactions", "items")


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
        self._warned: set[tuple[str, str | None]] = set()

    def check(self, name: str) -> None:
        """Refuses a folder of tables of which nothing can be studied, before anything is written.

        Raises:
            DataFileError: If its interactions cannot be read, or their core is empty.
            FileNotFoundError: If there is no such folder.
        """
        folder = self.root / name
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}.")
        if (path := find_table(folder, "interactions")) is not None:  # else one in matrices
            core_of(read_table(path, ["user", "item"]), self.rules.k_core, path)

    def fingerprint(self, name: str) -> dict[str, str]:
        """The hash of each table of a data set, by the name of its file."""
        found = [find_table(self.root / name, stem) for stem in TABLES]
        return {path.name: pooch.file_hash(str(path)) for path in found if path is not None}

    def graph(self, name: str, setting: str, split: int, text: str) -> HeteroData:
        """The graph of one arm and split; placebos and random interactions are drawn anew with
        each split.

        Raises:
            ValueError: If the kind of text says nothing here; the message says why.
        """
        kind, share = SPLITS[setting]
        columns = self._columns(name, kind, text)
        graphs = [self._dataset(name, kind, split, column) for column in columns]
        data: HeteroData = graphs[0].clone()
        if share:
            data = RandomInteractions(share, split)(data)
        if text == "none":
            for field in ("x", "intent"):
                for side in ("user", "item"):
                    if field in data[side]:
                        del data[side][field]
            return data
        if any("x" not in graph["item"] for graph in graphs):
            raise ValueError(f"{name} has no texts of items.")
        if text == "titles":
            real = self._dataset(name, kind, split, None)
            if torch.equal(real["item"].x, data["item"].x):
                raise ValueError(f"The texts of {name} are its titles.")
        if text == "views":
            data["item"].x = torch.cat([graph["item"].x for graph in graphs], dim=1)
        if text in PLACEBOS:
            data = PLACEBOS[text](split)(data)
        if "intent" not in data["item"]:
            data["item"].intent = data["item"].x
        return self._narrowed(data, name) if text == "narrow" else data

    def _columns(self, name: str, kind: Kind | None, text: str) -> tuple[str | None, ...]:
        """What is embedded; nothing for a column stands for the data set's usual one."""
        if text not in ("titles", "views"):
            return (None,)
        if kind is None:
            raise ValueError(f"{name} has embeddings, and no columns of texts.")
        if text == "titles":
            return (TITLE,)
        if len(views := self.rules.views or ()) < 2:
            raise ValueError("Several views need columns of the items: --views title text.")
        return views

    def _narrowed(self, data: HeteroData, name: str) -> HeteroData:
        width, rank = data["item"].x.size(1), self.rules.narrow
        if rank >= width:
            raise ValueError(f"The texts of {name} are {width} wide: --narrow must be below.")
        return narrow_texts(data, rank)

    def origin(
        self, data: HeteroData, name: str, setting: str, split: int, text: str
    ) -> dict[str, Any]:
        """What rows say of a graph: its hash, encoder, and how much text was read."""
        none, kind = text == "none", SPLITS[setting][0]
        columns = () if none else self._columns(name, kind, text)
        texts = [getattr(self._open(name, kind, split, one), "texts", ()) for one in columns]
        return {
            "data_hash": hashes(data),
            "encoder": "" if none else self.rules.encoder,
            "width": 0 if none else data["item"].x.size(1),
            "characters": sum(len(text) for view in texts for text in view),
        }

    def _dataset(self, name: str, kind: Kind | None, split: int, column: str | None) -> HeteroData:
        graph: HeteroData = self._open(name, kind, split, column)[0]  # type: ignore[assignment]
        return graph

    def _opened(
        self, name: str, kind: Kind | None, split: int, column: str | None
    ) -> InMemoryDataset:
        if kind is None:
            if any(Path(self.root, name).glob("interactions.*")):
                raise ValueError(f"{name} is a folder of tables, which comes with no split.")
            return DataConfig(name=name, root=str(self.root)).open()
        with warnings.catch_warnings():
            if (name, column) in self._warned:  # items without texts are so in every split
                warnings.simplefilter("ignore")
            self._warned.add((name, column))
            return TableDataset(
                self.root,
                name,
                k_core=self.rules.k_core,
                split=kind,
                shares=self.rules.shares,
                seed=split,
                text=column,
                intent=self.rules.intent,
                encoder=self.rules.encoder,
                text_rank=self.rules.text_rank,
            )
