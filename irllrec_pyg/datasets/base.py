import errno
import hashlib
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import pandas as pd
import pooch
import torch
from torch_geometric.data import HeteroData, InMemoryDataset

from ..edges import EDGE_TYPE
from ..files import atomic_path
from .formats import EMBEDDINGS
from .safe_pickle import DataFileError, UnsafePickleError

#: Raise it whenever the same raw files give another processed file.
_FORMAT = 2


class GraphDataset(InMemoryDataset):
    r"""A data set of one graph of users and items, made of the files in ``root/name`` and kept in
    ``root/name/processed`` under a name that says what it was made from. Where that folder may not
    be written, it is kept in the user's own cache.

    Subclasses say which files these are and build the graph.

    Args:
        root (str): Folder that holds one folder a data set.
        name (str): Name of the data set's folder.
        transform (callable, optional): Applied to the graph before every access.
            (default: ``None``)
        pre_transform (callable, optional): Applied to the graph before it is saved; returns
            :class:`HeteroData` of tensors, numbers and text. (default: ``None``)
        pre_filter (callable, optional): Must accept the graph. (default: ``None``)
        force_reload (bool, optional): Whether to process the raw files again. Needed only where
            they changed with neither size nor time changing. (default: ``False``)

    Raises:
        DataFileError: For a raw or processed file that cannot be used; names file and row.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        name: str,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        pre_filter: Callable[[HeteroData], bool] | None = None,
        force_reload: bool = False,
    ) -> None:
        if name in ("", ".", "..") or Path(name).name != name:
            raise ValueError(f"'name' must be the name of a folder inside {root!s}, got {name!r}.")
        self.name = name
        self._unsaved: HeteroData | None = None
        super().__init__(
            os.fspath(root), transform, pre_transform, pre_filter, force_reload=force_reload
        )
        self.data = self._load() if self._unsaved is None else self._unsaved
        self._unsaved = None
        self._graph.name = name

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
    def processed_dir(self) -> str:
        return os.path.join(self.folder, "processed")

    @property
    def processed_file_names(self) -> list[str]:
        r"""One file, named after everything that changes its content: arguments and raw files."""
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self._used()]
        return [f"data_{self._argument_key()}_{_short_hash(stats)}.pt"]

    def _used(self) -> list[Path]:
        r"""The raw files that the graph is made of."""
        raise NotImplementedError

    def _arguments(self) -> list[Any]:
        r"""What else changes the graph, as JSON."""
        return []

    def _argument_key(self) -> str:
        transforms = [_identity(self.pre_transform), _identity(self.pre_filter)]
        return _short_hash([_FORMAT, *transforms, *self._arguments()])

    # Processing and loading =======================================================================

    def _download(self) -> None:  # PyG's own only knows files without which nothing works
        self.download()

    def download(self) -> None:
        r"""Fetches what is missing, where there is a source."""

    def _process(self) -> None:  # PyG's own opens `pre_transform.pt` without restriction
        if self.force_reload or not any(path.exists() for path in self._places()):
            self.process()

    def _places(self) -> tuple[Path, Path]:
        r"""Where the graph may be kept: in the data set's folder or, if it is another's, in the
        user's own cache.
        """
        own = Path(self.processed_paths[0])
        folder = f"{self.name}_{_short_hash(os.path.realpath(self.folder))}"
        return own, Path(pooch.os_cache("irllrec_pyg"), "processed", folder, own.name)

    def _build(self) -> HeteroData:
        r"""The graph, from the raw files."""
        raise NotImplementedError

    def process(self) -> None:
        data = self._build()
        if self.pre_filter is not None and not self.pre_filter(data):
            raise ValueError(f"pre_filter rejects the only graph of data set '{self.name}'")
        if self.pre_transform is not None:
            data = self.pre_transform(data)
            if not isinstance(data, HeteroData):
                raise ValueError(
                    f"pre_transform returns {type(data).__name__}, not HeteroData: pass it as "
                    "transform, which may return anything"
                )
        for path in self._places():
            try:
                # Through a file of Python's, whose errors say what torch's own do not: a full disk.
                with atomic_path(path) as temporary, open(temporary, "wb") as file:
                    torch.save(data.to_dict(), file)
            except OSError as error:
                if not read_only(error):
                    raise
                continue
            for old in path.parent.glob(f"data_{self._argument_key()}_*.pt"):
                if old != path:  # made from raw files that have changed since
                    old.unlink(missing_ok=True)
            return
        self._unsaved = data  # nothing can be kept for next time

    def _load(self) -> HeteroData:
        kept = [path for path in self._places() if path.exists()]
        path = str(max(kept, key=os.path.getmtime))
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

    def _widths(self) -> dict[str, int]:
        vectors = {field: self._graph["item"].get(field) for field in EMBEDDINGS}
        return {field: 0 if x is None else x.size(1) for field, x in vectors.items()}

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
            **{f"{field}_width": width for field, width in self._widths().items()},
        }
        return pd.DataFrame([row], index=pd.Index([self.name], name="name"))

    def __repr__(self) -> str:
        fields = ", ".join(f"{field}={w or 'missing'}" for field, w in self._widths().items())
        return (
            f"{type(self).__name__}({self.name}, users={self.num_users}, "
            f"items={self.num_items}, {fields})"
        )


def read_only(error: OSError) -> bool:
    r"""Whether a file could not be written because its folder is another's."""
    return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


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
