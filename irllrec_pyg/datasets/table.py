r"""A folder of tables as a data set."""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from functools import cache, cached_property
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
from .table_texts import ItemTexts, joined, listed, rows_by_position, user_texts
from .tables import core_of, find_table, read_table
from .times import time_order

if TYPE_CHECKING:
    from ..text.encoding import Vectors
    from ..text.views import AnyEncoder

log = logging.getLogger(__name__)


@cache
def _say_once(message: str) -> None:
    """Once a process: every split of a study has the same to say."""
    log.warning(message)


class TableDataset(GraphDataset):
    r"""A folder of tables as a data set.

    ``root/name`` holds ``interactions`` (columns ``user``, ``item`` and, for splits by time,
    ``time``), and where there are texts ``items`` (``item``, ``title``, ``text``, …) and ``users``
    (``user``, ``text``), each as ``.csv``, ``.csv.gz``, ``.tsv``, ``.tsv.gz`` or ``.parquet``
    (which needs ``pip install pyarrow``). Ids are text in every format: ``007`` is not ``7``.
    Further columns do no harm. Every row of ``interactions`` is one: leave bad ratings out before.

    The texts of the items are embedded as vectors of length 1, each text once: embeddings are kept
    in ``root/name/processed/embeddings`` by the text's hash, whatever the split. With
    ``encoder="wordllama+words"`` a vector is two views side by side: what the texts mean, and
    their very words, which name authors, brands and series. Items without a
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
        encoder (str or AnyEncoder, optional): ``"wordllama"``, ``"sentence-transformers:MODEL"``,
            ``"openai:MODEL"``, ``"words"`` (:class:`~irllrec_pyg.text.words.WordsEncoder`, fitted
            on the items' texts), several of these joined by ``"+"``, an encoder of
            :mod:`irllrec_pyg.text`, or ``None`` for no texts. (default: ``"wordllama"``)
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
        encoder: "str | AnyEncoder | None" = "wordllama",
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
        self.columns = {"x": listed(text), "intent": listed(intent)}
        self.text_rank, self.user_text = text_rank, user_text
        if isinstance(encoder, str):
            from ..text.views import build_views  # takes seconds

            encoder = build_views(encoder)
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
        items = self._item_texts(data["item"].raw_id)
        missing = {}
        for field in self.columns:
            what = f"Data set '{self.name}' has no '{field}' embeddings"
            if self.encoder is None:
                missing[field] = (
                    f"{what}: pass encoder='wordllama', or another one, to TableDataset."
                )
            elif reason := items.why_none(field):
                missing[field] = f"{what}: {reason}"
                if field == "x" and items.source != self.folder:
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
        core = core_of(table, self.k_core, path)
        left = [f"{core[s].nunique()} of {table[s].nunique()} {s}s" for s in ("user", "item")]
        if len(core) < len(table):
            _say_once(
                f"{path}: who has fewer than {self.k_core} interactions is left out, users and "
                f"items; {' and '.join(left)} are left. To keep all: k_core=0 (--k-core 0)."
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
                when = time_order(core["time"], "time", path)
            except ValueError as error:
                raise DataFileError(str(error)) from None
            # Interactions of one time are in no order, and the file's must not become theirs.
            place = np.lexsort((when, item, user))
            place = place[np.random.default_rng(self.seed).permutation(len(place))]
            user, item, when = user[place], item[place], when[place]
        return make_graph(user, item, ids, self.name, self.split, self.shares, self.seed, when)

    # Texts ========================================================================================

    def _item_texts(self, ids: list[str], warn: bool = True) -> ItemTexts:
        if (path := self._path("items")) is None:
            return ItemTexts(pd.DataFrame({"item": ids}), self.folder, self.columns)
        return ItemTexts(rows_by_position(path, "item", ids, warn), path, self.columns)

    @cached_property
    def _items(self) -> ItemTexts:
        return self._item_texts(self._graph["item"].raw_id, warn=False)

    @property
    def items(self) -> pd.DataFrame:
        r"""The table of the items, in the order of the graph's; all is text, ``""`` where it says
        nothing. ``ranker.item_table = dataset.items`` makes rules of its columns work.
        """
        return self._items.table

    @property
    def texts(self) -> list[str]:
        r"""The texts of the items, by position; ``""`` for those without one."""
        return self._items.texts("x")

    @property
    def text_fields(self) -> list[str]:
        r"""The columns of ``items`` that are embedded as ``x``."""
        return self._items.columns("x")

    def encode_texts(self, texts: list[str]) -> Tensor:
        r"""Vectors of texts, as those of the items are: by the same encoder, along the same
        principal components; of shape :math:`(n, T)`.

        Raises:
            ValueError: If the data set has no encoder.
        """
        if self.encoder is None:
            raise ValueError(f"Data set '{self.name}' was made with encoder=None.")
        encode = self._encode(self.texts)
        vectors = torch.from_numpy(encode(texts))
        if self.text_rank is not None:
            own = self._items.fill(torch.from_numpy(encode(self.texts)), "x", warn=False)
            vectors = principal_components(own, self.text_rank).project(vectors)
        return vectors

    def embed_items(self, table: pd.DataFrame) -> Tensor:
        r"""Vectors of new items for :meth:`irllrec_pyg.ranking.Ranker.add_items`.

        Args:
            table (DataFrame): A row for each item, with the columns that are embedded.

        Raises:
            ValueError: If a column is missing, or an item has no text; names it.
        """
        for column in self.text_fields:
            if column not in table:
                raise ValueError(f"The table of new items has no column {column!r} to embed.")
        rows = table[self.text_fields].astype(object)
        rows = rows.where(rows.notna(), "").astype(str)
        texts = joined(rows, self.text_fields)
        for item, text in zip(table["item"], texts, strict=True):
            if not text:
                raise ValueError(f"The new item {item!r} has no text.")
        return self.encode_texts(texts)

    def _embed(self, data: HeteroData, field: str, items: ItemTexts) -> None:
        texts = items.texts(field)
        encode = self._encode(texts)
        vectors = items.fill(torch.from_numpy(encode(texts)), field)
        parts = {"item": vectors}
        if self.user_text and field == "x" and (path := self._path("users")) is not None:
            own = user_texts(path, data["user"].raw_id)
            data["user"].x_may_leak = True
            empty = torch.tensor([not text for text in own])
            means = user_means(vectors, data[EDGE_TYPE].edge_index, len(own))
            users = torch.where(empty[:, None], means, torch.from_numpy(encode(own)))
            parts = {"user": users, "item": vectors}
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

    def _encode(self, corpus: list[str]) -> "Callable[[list[str]], Vectors]":
        r"""What turns texts into vectors, where the items' texts are these."""
        from ..text.views import fitted

        assert self.encoder is not None
        return fitted(self.encoder, corpus, self.processed_dir)
