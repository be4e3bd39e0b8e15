import errno
import hashlib
import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import pandas as pd
import torch
from torch_geometric.data import HeteroData, InMemoryDataset

from ..edges import EDGE_TYPE
from ..files import atomic_path
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
from .safe_pickle import DataFileError, UnsafePickleError

#: Raise it whenever the same raw files give another processed file.
_FORMAT = 2
SIDES = ("user", "item")
_warned: set[tuple[str, tuple[str, ...]]] = set()


class IRLLRecDataset(InMemoryDataset):
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
        if name in ("", ".", "..") or Path(name).name != name:
            raise ValueError(f"'name' must be the name of a folder inside {root!s}, got {name!r}.")
        self.name = name
        self.download_text = download_text
        self._unsaved: HeteroData | None = None
        super().__init__(
            os.fspath(root), transform, pre_transform, pre_filter, force_reload=force_reload
        )
        self.data = self._load() if self._unsaved is None else self._unsaved
        self._unsaved = None
        self._graph.name = name
        missing = self._missing()
        if missing:
            self._graph.missing = missing
            key = (os.path.abspath(self.raw_dir), tuple(missing))
            if key not in _warned:
                _warned.add(key)
                warnings.warn("\n".join(missing.values()), stacklevel=2)

    @property
    def _graph(self) -> HeteroData:
        assert isinstance(self._data, HeteroData)
        return self._data

    # Files ========================================================================================

    @property
    def folder(self) -> str:
        r"""The folder of this data set."""
        return os.path.join(self.root, self.name)

    @property
    def raw_dir(self) -> str:
        nested = os.path.join(self.folder, "raw")
        flat = not os.path.isdir(nested) and os.path.exists(os.path.join(self.folder, MATRICES[0]))
        return self.folder if flat else nested

    @property
    def processed_dir(self) -> str:
        return os.path.join(self.folder, "processed")

    @property
    def raw_file_names(self) -> list[str]:
        return list(MATRICES)

    @property
    def processed_file_names(self) -> list[str]:
        r"""One file, named after everything that changes its content: arguments and raw files."""
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self._used()]
        return [f"data_{self._argument_key()}_{_short_hash(stats)}.pt"]

    def _argument_key(self) -> str:
        return _short_hash([_FORMAT, _identity(self.pre_transform), _identity(self.pre_filter)])

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

    # Downloading, processing, loading =============================================================

    def _download(self) -> None:  # PyG's own only knows files without which nothing works
        self.download()

    def download(self) -> None:
        if self.name == "sample":
            copy_sample(self.raw_dir)
        if not all(os.path.exists(path) for path in self.raw_paths):
            fetch_matrices(self.name, self.raw_dir, self.root, self.download_text)
        if self.download_text and self._missing():
            fetch_text(self.name, self.raw_dir, self.root)

    def _process(self) -> None:  # PyG's own opens `pre_transform.pt` without restriction
        if self.force_reload or not os.path.exists(self.processed_paths[0]):
            self.process()

    def process(self) -> None:
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
        if self.pre_filter is not None and not self.pre_filter(data):
            raise ValueError(f"pre_filter rejects the only graph of data set '{self.name}'")
        if self.pre_transform is not None:
            data = self.pre_transform(data)
            if not isinstance(data, HeteroData):
                raise ValueError(
                    f"pre_transform returns {type(data).__name__}, not HeteroData: pass it as "
                    "transform, which may return anything"
                )
        self._save(data)

    def _save(self, data: HeteroData) -> None:
        path = Path(self.processed_paths[0])
        try:
            # Through a file of Python's, whose errors say what torch's own do not: a full disk.
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                torch.save(data.to_dict(), file)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            self._unsaved = data  # a shared, read-only folder: nothing is kept for next time
            return
        for old in path.parent.glob(f"data_{self._argument_key()}_*.pt"):
            if old != path:  # made from raw files that have changed since
                old.unlink(missing_ok=True)

    def _load(self) -> HeteroData:
        path = self.processed_paths[0]
        advice = (
            "Pass force_reload=True to make it again from the raw files. (A pre_transform may "
            "leave only tensors, numbers and text in the graph.)"
        )
        try:
            # Mapped: texts that no model reads take no memory.
            return HeteroData.from_dict(
                torch.load(path, weights_only=True, mmap=zipfile.is_zipfile(path))
            )
        except pickle.UnpicklingError as error:
            # Without torch's own words, which advise to open the file without restriction.
            found = re.search(r"GLOBAL (\S+)", str(error))
            what = f"asks for {found[1]}" if found else "is damaged or holds more than tensors"
            raise UnsafePickleError(f"{path} {what} and was not opened. {advice}") from None
        except Exception as error:
            raise DataFileError(
                f"{path} is damaged ({type(error).__name__}: {error}). {advice}"
            ) from error

    # What is in it ================================================================================

    @property
    def num_users(self) -> int:
        r"""Number of users."""
        return int(self._graph["user"].num_nodes)

    @property
    def num_items(self) -> int:
        r"""Number of items."""
        return int(self._graph["item"].num_nodes)

    def statistics(self) -> pd.DataFrame:
        r"""Sizes of the data set as a table with one row."""
        rates = self._graph[EDGE_TYPE]
        train = rates.edge_index.size(1)
        row: dict[str, Any] = {
            "users": self.num_users,
            "items": self.num_items,
            "train": train,
            "val": rates.val_edge_label_index.size(1),
            "test": rates.edge_label_index.size(1),
            "density": train / (self.num_users * self.num_items),
            "users_with_test": rates.edge_label_index[0].unique().numel(),
        }
        for field in EMBEDDINGS:
            value = self._graph["item"].get(field)
            row[f"{field}_width"] = 0 if value is None else value.size(1)
        return pd.DataFrame([row], index=pd.Index([self.name], name="name"))

    def __repr__(self) -> str:
        widths = {field: self._graph["item"].get(field) for field in EMBEDDINGS}
        fields = ", ".join(
            f"{field}={'missing' if value is None else value.size(1)}"
            for field, value in widths.items()
        )
        return (
            f"{type(self).__name__}({self.name}, users={self.num_users}, "
            f"items={self.num_items}, {fields})"
        )


def _short_hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


def _identity(function: object) -> str:
    r"""Text that differs where a transform differs, and is the same in another process."""
    code = getattr(function, "__code__", None)
    parts: tuple[object, ...]
    if isinstance(code, CodeType):
        cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
        defaults = getattr(function, "__defaults__", None)
        parts = (code.co_code.hex(), code.co_names, code.co_consts, cells, defaults)
    else:  # PyG's transforms do not print their arguments
        parts = (function, sorted(getattr(function, "__dict__", {}).items()))
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(function)} {parts}")
