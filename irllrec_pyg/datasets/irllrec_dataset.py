import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData

from .base import GraphDataset
from .download import copy_sample, fetch_matrices, fetch_text, where_to_get
from .formats import (
    EMBEDDINGS,
    IDS,
    MATRICES,
    MEAN_OF_ITEMS,
    build_data,
    read_embedding,
    read_ids,
    read_interactions,
)

SIDES = ("user", "item")
_warned: set[tuple[str, tuple[str, ...]]] = set()


class IRLLRecDataset(GraphDataset):
    r"""Interactions and text embeddings of users and items, from the `"Representation Learning with
    Large Language Models for Recommendation" <https://arxiv.org/abs/2310.15950>`_ (RLMRec) and
    `"Intent Representation Learning with Large Language Model for Recommendation"
    <https://arxiv.org/abs/2502.03307>`_ (IRLLRec) papers, or your own in the same layout.

    The folder ``root/name/raw`` (or ``root/name``, as the archives unpack) holds
    ``trn_mat.pkl val_mat.pkl tst_mat.pkl``, and where they exist the profile embeddings
    ``usr_emb_np.pkl itm_emb_np.pkl``, the intent embeddings
    ``user_intent_emb_3.pkl item_intent_emb_3.pkl``, and in ``ids.json`` the owner's ids, which
    become ``data["user"].raw_id`` and ``data["item"].raw_id``. What is there is never downloaded.
    Without embeddings the data set still loads, warns once, and says in ``data.missing`` what to
    do. Embeddings of the items alone are read as well.

    Embeddings are float32 in the graph, whatever the type of the file: ``data["user"].x`` of shape
    :math:`(|\mathcal{U}|, T)` and ``data["item"].x`` of shape :math:`(|\mathcal{I}|, T)`, likewise
    ``intent``.

    .. list-table::
        :header-rows: 1

        * - Name
          - #users
          - #items
          - #train / #validation / #test
        * - ``amazon``
          - 11,000
          - 9,332
          - 120,464 / 40,290 / 40,106
        * - ``yelp``
          - 11,091
          - 11,010
          - 166,620 / 55,479 / 55,436
        * - ``movie``
          - 16,994
          - 9,370
          - 134,649 / 16,799 / 16,795
        * - ``steam`` (no intents)
          - 23,310
          - 5,237
          - 316,190 / – / –
        * - ``sample`` (synthetic, comes with the package)
          - 600
          - 360
          - 4,530 / 1,166 / 1,166

    Args:
        root (str): Folder that holds one folder a data set.
        name (str): ``"movie"``, ``"amazon"``, ``"yelp"``, ``"steam"``, ``"sample"``, or the name of
            any other folder in the same layout.
        transform (callable, optional): Applied to the graph before every access.
            (default: ``None``)
        pre_transform (callable, optional): Applied to the graph before it is saved; returns
            :class:`HeteroData` of tensors, numbers and text. (default: ``None``)
        pre_filter (callable, optional): Must accept the graph. (default: ``None``)
        force_reload (bool, optional): Whether to process the raw files again. Needed only where
            they changed with neither size nor time changing. (default: ``False``)
        download_text (bool, optional): Whether to fetch missing embeddings, which are gigabytes.
            (default: ``False``)

    Raises:
        DataFileError: For a raw or processed file that cannot be used; names file and row.
        FileNotFoundError: Where matrices are missing and cannot be fetched.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        name: str,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        pre_filter: Callable[[HeteroData], bool] | None = None,
        force_reload: bool = False,
        download_text: bool = False,
    ) -> None:
        self.download_text = download_text
        super().__init__(root, name, transform, pre_transform, pre_filter, force_reload)
        missing = self._missing()
        if missing:
            self._graph.missing = missing
            key = (os.path.abspath(self.raw_dir), tuple(missing))
            if key not in _warned:
                _warned.add(key)
                warnings.warn("\n".join(missing.values()), stacklevel=2)

    @property
    def raw_dir(self) -> str:
        nested = os.path.join(self.folder, "raw")
        flat = not os.path.isdir(nested) and os.path.exists(os.path.join(self.folder, MATRICES[0]))
        return self.folder if flat else nested

    @property
    def raw_file_names(self) -> list[str]:
        return list(MATRICES)

    def _absent(self, field: str) -> list[str]:
        raw_dir = Path(self.raw_dir)
        return [file for file in EMBEDDINGS[field] if not (raw_dir / file).exists()]

    def _present(self, field: str) -> dict[str, Path]:
        r"""The usable embedding files by side: of both, or of the items alone."""
        paths = [Path(self.raw_dir, file) for file in EMBEDDINGS[field]]
        if not paths[1].exists():
            return {}
        return {side: path for side, path in zip(SIDES, paths, strict=True) if path.exists()}

    def _used(self) -> list[Path]:
        paths = [Path(self.raw_dir, name) for name in (*MATRICES, IDS)]
        paths += [path for field in EMBEDDINGS for path in self._present(field).values()]
        return [path for path in paths if path.exists() or path.name != IDS]

    def _missing(self) -> dict[str, str]:
        r"""For every absent field: what is missing, where to get it, and where to put it."""
        messages = {}
        for field, files in EMBEDDINGS.items():
            absent = self._absent(field)
            if absent:
                only, instead = "", "."
                if absent == [files[0]]:
                    only, instead = " of users", f". {MEAN_OF_ITEMS}"
                elif len(absent) == 1:
                    instead = " (the file of the other side is there)."
                messages[field] = (
                    f"Data set '{self.name}' has no '{field}' embeddings{only}: "
                    f"{' and '.join(absent)} missing{instead} {where_to_get(self.name, field)} "
                    f"Put into: {os.path.abspath(self.raw_dir)}"
                )
        return messages

    def download(self) -> None:
        if self.name == "sample":
            copy_sample(self.raw_dir)
        if not all(os.path.exists(path) for path in self.raw_paths):
            fetch_matrices(self.name, self.raw_dir, self.root, self.download_text)
        if self.download_text and self._missing():
            fetch_text(self.name, self.raw_dir, self.root)

    def _build(self) -> HeteroData:
        interactions = read_interactions(self.raw_dir)
        data = build_data(interactions, self.name)
        sizes = {"user": interactions.num_users, "item": interactions.num_items}
        ids = Path(self.raw_dir, IDS)
        for side, raw in (read_ids(ids, sizes) if ids.exists() else {}).items():
            if raw != list(range(sizes[side])):
                data[side].raw_id = raw
        for field in EMBEDDINGS:
            files = self._present(field)
            parts = [read_embedding(files[side], sizes[side], side).float() for side in files]
            if len({part.size(1) for part in parts}) == 1:  # one piece of memory, for models
                parts = list(torch.cat(parts).split([sizes[side] for side in files]))
            for side, part in zip(files, parts, strict=True):
                data[side][field] = part
        return data
