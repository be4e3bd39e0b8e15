r"""A folder of tables as a data set."""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE
from ..nn.features import principal_components, user_means
from .base import GraphDataset
from .formats import MEAN_OF_ITEMS
from .interactions import make_graph
from .safe_pickle import DataFileError
from .splits import KINDS, Kind, check_shares
from .tables import find_table, k_core, read_table
from .times import time_order

if TYPE_CHECKING:
    from ..text.encoders import Encoder

log = logging.getLogger(__name__)


class TableDataset(GraphDataset):
    r"""A folder of tables as a data set.

    ``root/name`` holds ``interactions`` (columns ``user``, ``item`` and, for splits by time,
    ``time``), and where there are texts ``items`` (``item``, ``title``, ``text``, …) and ``users``
    (``user``, ``text``), each as ``.csv``, ``.csv.gz``, ``.tsv``, ``.tsv.gz`` or ``.parquet``
    (which needs ``pip install pyarrow``). Ids are text in every format: ``007`` is not ``7``.
    Further columns do no harm. Every row of ``interactions`` is one: leave bad ratings out before.

    The texts of the items are embedded as vectors of length 1, each text once: embeddings are kept
    in ``root/name/processed/embeddings`` by the text's hash, whatever the split. Items without a
    text or without a row in ``items`` are kept, with a warning that counts them: they get the mean
    of the others' vectors, which says nothing about them.

    **Texts of users are left out unless** ``user_text=True``. What an LLM wrote about a user tells
    of held-out interactions where it was written before the split was drawn, and no column can
    show that it was not: in published sets users are as close to their test items as to their
    training items. With ``user_text=True`` they are read, with a warning, and
    ``data["user"].x_may_leak`` is ``True``. Without them a user is the mean of the training items.

    .. code-block:: python

        data = TableDataset("data", "shop", split="cold-items", text=["title", "brand"])[0]

    Args:
        root (str): Folder that holds one folder a data set.
        name (str): Name of the folder.
        k_core (int, optional): Users and items with fewer interactions are left out until none
            remains. With 0 nothing is, and items of ``items`` that nobody has touched become
            nodes too. (default: ``5``)
        split (str, optional): ``"random"`` or ``"time"`` within each user, ``"time-global"``,
            ``"cold-items"`` or ``"cold-users"``; see :func:`~.splits.split_pairs`.
            (default: ``"random"``)
        shares (sequence of float, optional): Shares of training, validation and test.
            (default: ``(0.6, 0.2, 0.2)``)
        seed (int, optional): Seed of the split. (default: ``0``)
        text (str or sequence of str, optional): Columns of ``items`` that are embedded as ``x``,
            joined by ". ". (default: ``"text"`` if there is one, else ``"title"``)
        encoder (str or Encoder, optional): ``"wordllama"``, ``"sentence-transformers:MODEL"``,
            ``"openai:MODEL"``, an encoder of :mod:`irllrec_pyg.text.encoders`, or ``None`` for no
            texts. (default: ``"wordllama"``)
        text_rank (int, optional): Embeddings are reduced to so many principal components of the
            items' embeddings; ``data.kept_variance`` says, by field, which share of the variance
            lies in them. (default: ``None``)
        intent (str or sequence of str, optional): Columns that are embedded as ``intent``.
            (default: ``None``)
        user_text (bool, optional): Whether to use the texts of ``users``. (default: ``False``)
        transform (callable, optional): Applied to the graph before every access.
            (default: ``None``)
        force_reload (bool, optional): Whether to process the tables again. (default: ``False``)

    Raises:
        DataFileError: For a table that cannot be used; names file, row and column.
        FileNotFoundError: If there is no table of interactions.
        ImportError: Where the encoder's package is missing; says what to install.
        ValueError: For an argument that cannot be used.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        name: str,
        *,
        k_core: int = 5,
        split: Kind = "random",
        shares: Sequence[float] = (0.6, 0.2, 0.2),
        seed: int = 0,
        text: str | Sequence[str] | None = None,
        encoder: "str | Encoder | None" = "wordllama",
        text_rank: int | None = None,
        intent: str | Sequence[str] | None = None,
        user_text: bool = False,
        transform: Callable[[HeteroData], Any] | None = None,
        force_reload: bool = False,
    ) -> None:
        if split not in KINDS:
            raise ValueError(f"'split' must be one of {', '.join(KINDS)}, got {split!r}")
        for argument, value, least in (("k_core", k_core, 0), ("text_rank", text_rank, 1)):
            if value is not None and value < least:
                raise ValueError(f"'{argument}' must be at least {least}, got {value}")
        self.k_core, self.split, self.seed = k_core, split, seed
        self.shares = check_shares(shares, "shares")
        self.columns = {"x": _listed(text), "intent": _listed(intent)}
        self.text_rank, self.user_text = text_rank, user_text
        if isinstance(encoder, str):
            from ..text.encoders import build_encoder  # takes seconds

            encoder = build_encoder(encoder)
        self.encoder = encoder
        super().__init__(root, name, transform, force_reload=force_reload)

    # Files ========================================================================================

    @property
    def raw_dir(self) -> str:
        return self.folder

    @property
    def raw_file_names(self) -> list[str]:
        return [path.name for path in self._used()]

    def _path(self, stem: str) -> Path | None:
        return find_table(self.folder, stem)

    def _used(self) -> list[Path]:
        found = {stem: self._path(stem) for stem in ("interactions", "items", "users")}
        for stem, needed in (("interactions", True), ("users", self.user_text)):
            if needed and found[stem] is None:
                raise FileNotFoundError(
                    f"Data set '{self.name}' needs a table {stem}.csv (or .csv.gz, .tsv, .parquet) "
                    f"in {os.path.abspath(self.folder)}."
                )
        return [path for path in found.values() if path is not None]

    def _arguments(self) -> list[Any]:
        encoder = None if self.encoder is None else self.encoder.name
        texts = [self.columns, encoder, self.text_rank, self.user_text]
        return [self.k_core, self.split, self.shares.tolist(), self.seed, *texts]

    def _argument_key(self) -> str:
        return f"{self.split}-{self.seed}_{self.k_core}-core_{super()._argument_key()}"

    # The graph ====================================================================================

    def _build(self) -> HeteroData:
        data = self._read_interactions()
        items = self._rows("items", data["item"].raw_id)
        missing = {}
        for field in self.columns:
            what = f"Data set '{self.name}' has no '{field}' embeddings"
            reason = self._without_text(field, items)
            if items is None or reason:
                missing[field] = f"{what}: {reason}"
                if field == "x" and items is not None and self.encoder is not None:
                    warnings.warn(missing[field], stacklevel=2)
            else:
                self._embed(data, field, items)
                if field not in data["user"]:
                    missing[field] = f"{what} of users. {MEAN_OF_ITEMS}"
        data.missing = missing
        return data

    def _read_interactions(self) -> HeteroData:
        path = self._used()[0]
        timed = self.split.startswith("time")
        table = read_table(path, ["user", "item", *(["time"] if timed else [])])
        core = table[k_core(table["user"].to_numpy(), table["item"].to_numpy(), self.k_core)]
        if core.empty:
            raise DataFileError(
                f"{path}: nothing is left of {len(table)} interactions with 'k_core' "
                f"{self.k_core}. Take a smaller one."
            )
        extra: list[str] = []
        if self.k_core == 0 and (items := self._path("items")) is not None:
            extra = read_table(items, ["item"])["item"].tolist()
        ids = (sorted(core["user"].unique()), sorted({*core["item"].unique(), *extra}))
        user, item = (
            pd.Index(known).get_indexer(pd.Index(core[side]))
            for side, known in zip(("user", "item"), ids, strict=True)
        )
        when = None
        if timed:
            try:
                when = time_order(core["time"], "time")
            except ValueError as error:
                raise DataFileError(str(error).replace("df", str(path), 1)) from None
            # Interactions of one time are in no order, and the file's must not become theirs.
            place = np.lexsort((when, item, user))
            place = place[np.random.default_rng(self.seed).permutation(len(place))]
            user, item, when = user[place], item[place], when[place]
        return make_graph(user, item, ids, self.name, self.split, self.shares, self.seed, when)

    def _rows(self, stem: str, ids: list[str], warn: bool = True) -> pd.DataFrame | None:
        r"""The rows of a table of items or users by position, empty where there is none."""
        if (path := self._path(stem)) is None:
            return None
        key = stem.removesuffix("s")
        table = read_table(path, [key])
        twice = table[key].duplicated()
        if warn and twice.any():
            row = table.index[twice][0]
            warnings.warn(
                f"{path}, row {row}: the {key} {table[key][row]!r} is there already "
                f"({int(twice.sum())} such rows). The first row of each counts.",
                stacklevel=2,
            )
        return table[~twice].set_index(key).reindex(ids, fill_value="").reset_index()

    # Texts ========================================================================================

    @cached_property
    def items(self) -> pd.DataFrame:
        r"""The table of the items, in the order of the graph's; ``""`` where it says nothing."""
        ids = self._graph["item"].raw_id
        rows = self._rows("items", ids, warn=False)
        return pd.DataFrame({"item": ids}) if rows is None else rows

    @property
    def texts(self) -> list[str]:
        r"""The texts of the items, by position; ``""`` for those without one."""
        return _joined(self.items, self._text_columns("x", self.items))

    def _text_columns(self, field: str, table: pd.DataFrame) -> list[str]:
        columns = self.columns[field]
        for column in columns:
            if column not in table:
                raise DataFileError(
                    f"{self._path('items') or self.folder} has no column {column!r} to embed; its "
                    f"columns are {', '.join(table.columns)}."
                )
        if not columns and field == "x":
            return [column for column in ("text", "title") if column in table][:1]
        return columns

    def _without_text(self, field: str, items: pd.DataFrame | None) -> str | None:
        if self.encoder is None:
            return "pass encoder='wordllama', or another one, to TableDataset."
        if field == "intent" and not self.columns["intent"]:
            return "pass intent='COLUMN' to TableDataset, a column of items with such texts."
        if items is None:
            return f"put a table items.csv with the columns item and text into {self.folder}."
        columns = self._text_columns(field, items)
        if not any(_joined(items, columns)):
            return (
                f"{self._path('items')} has no text for any item of the interactions, such as "
                f"{items['item'][0]!r}, in {' or '.join(columns) or 'text or title'}. Are the ids "
                "written in the same way?"
            )
        return None

    def _embed(self, data: HeteroData, field: str, items: pd.DataFrame) -> None:
        texts = _joined(items, self._text_columns(field, items))
        vectors = self._vectors(texts)
        empty = torch.tensor([not text for text in texts])
        if empty.any():
            first = data["item"].raw_id[int(empty.nonzero()[0])]
            warnings.warn(
                f"{self._path('items')}: {int(empty.sum())} of {len(texts)} items have no text, or "
                f"no row at all, such as {first!r}. They get the mean of the others' vectors.",
                stacklevel=2,
            )
            vectors[empty] = vectors[~empty].mean(dim=0)
        parts = {"item": vectors}
        if self.user_text and field == "x":
            parts = {"user": self._user_vectors(data, vectors), "item": vectors}
        if self.text_rank is not None:
            components = principal_components(vectors, self.text_rank)
            parts = {side: components.project(part) for side, part in parts.items()}
            data.kept_variance = {**data.to_dict().get("kept_variance", {}), field: components.kept}
            log.info(
                "%s: %d principal components of %r, %d wide, keep %.1f %% of the variance.",
                *(self.name, components.directions.size(1), field, vectors.size(1)),
                100 * components.kept,
            )
        rows = [part.size(0) for part in parts.values()]
        whole = torch.cat(list(parts.values()))  # one piece of memory, for models
        for side, part in zip(parts, whole.split(rows), strict=True):
            data[side][field] = part

    def _user_vectors(self, data: HeteroData, items: Tensor) -> Tensor:
        users = self._rows("users", data["user"].raw_id)
        assert users is not None
        if "text" not in users:
            raise DataFileError(f"{self._path('users')} has no column 'text'.")
        texts = _joined(users, ["text"])
        warnings.warn(
            f"{self._path('users')}: texts of users may tell of held-out interactions, unless they "
            "were written from the training interactions of this very split. Results with them "
            "are marked (data['user'].x_may_leak).",
            stacklevel=2,
        )
        data["user"].x_may_leak = True
        vectors = self._vectors(texts, items.size(1))
        empty = torch.tensor([not text for text in texts])
        means = user_means(items, data[EDGE_TYPE].edge_index, len(texts))
        return torch.where(empty[:, None], means, vectors)

    def _vectors(self, texts: list[str], width: int = 0) -> Tensor:
        from ..text.embeddings import unit_vectors

        assert self.encoder is not None
        return torch.from_numpy(unit_vectors(self.encoder, texts, self.processed_dir, width))


def _listed(columns: str | Iterable[str] | None) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns or ())


def _joined(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    parts = [table[column].str.strip().tolist() for column in columns]
    if not parts:
        return [""] * len(table)
    return [". ".join(filter(None, row)) for row in zip(*parts, strict=True)]
