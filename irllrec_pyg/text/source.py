r"""What the prompts may see: item texts, and the training interactions with their reviews."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from ..datasets.tables import as_text
from ..edges import EDGE_TYPE, PAIRS
from ..ids import repeated_id
from ..sparse import CSR

Side = Literal["user", "item"]


class LeakageError(ValueError):
    """Something outside the training split was handed to the text pipeline."""


class TrainingTexts:
    r"""The training split of a data set, joined with the owner's tables of texts.

    This is the only thing that the prompts are made from. It keeps neither validation nor test
    interactions nor a reference to the data set, so no later step can read them. A pair that is
    in the training split and also in another one counts as held out.

    Args:
        data (HeteroData): A data set with its split, as :class:`irllrec_pyg.IRLLRecDataset`
            yields it.
        items (pandas.DataFrame): One row an item. The columns ``title`` and ``description`` are
            used under these names, every other column is an attribute. Items without a row, and
            empty cells, are allowed.
        reviews (pandas.DataFrame, optional): One row a review with the columns ``user``, ``item``
            and ``review``. (default: ``None``)
        outside (str): What to do with a review of a pair that is not in the training split:
            ``"error"`` refuses the table, ``"drop"`` leaves the row out and counts it in
            :attr:`dropped_reviews`. Its text is never kept either way. (default: ``"error"``)
        item_column (str): The column that holds the owner's item ids. (default: ``"item"``)
        user_column (str): The column that holds the owner's user ids. (default: ``"user"``)
        review_column (str): The column that holds the review. (default: ``"review"``)

    Raises:
        LeakageError: If a review belongs to a pair outside the training split.
        ValueError: If a table lacks a column or lists an item twice.
    """

    def __init__(
        self,
        data: HeteroData,
        items: pd.DataFrame,
        reviews: pd.DataFrame | None = None,
        outside: Literal["error", "drop"] = "error",
        item_column: str = "item",
        user_column: str = "user",
        review_column: str = "review",
    ) -> None:
        if outside not in ("error", "drop"):
            raise ValueError(f"'outside' must be 'error' or 'drop', got {outside!r}.")
        self.name = str(data["name"]) if "name" in data else "data"
        self.num_users, self.num_items = int(data["user"].num_nodes), int(data["item"].num_nodes)
        self.user_ids, self.item_ids = _ids(data, "user"), _ids(data, "item")
        self.split_hash = split_hash(data)
        pairs, self.held_out_twice = _training_pairs(data)
        self.num_pairs = pairs.size(1)
        train = CSR.from_pairs(pairs[0], pairs[1], self.num_users, self.num_items)
        self._neighbours = {
            side: (matrix.ptr.numpy(), matrix.col.numpy())
            for side, matrix in (("user", train), ("item", train.transpose(self.num_items)))
        }

        node = {str(raw): index for index, raw in enumerate(self.item_ids)}
        self.titles, self.descriptions = [""] * self.num_items, [""] * self.num_items
        self.attributes: list[dict[str, str]] = [{} for _ in range(self.num_items)]
        self.unknown_items = self._read_items(items, item_column, node)
        self._reviews: dict[tuple[int, int], str] = {}
        self._reviewers: dict[int, list[int]] = {}
        self.dropped_reviews = 0
        if reviews is not None:
            self._read_reviews(reviews, (user_column, item_column, review_column), node, outside)

    def items_of(self, user: int) -> NDArray[np.int64]:
        """The training items of a user, ascending."""
        return self.neighbours("user", user)

    def neighbours(self, side: Side, node: int) -> NDArray[np.int64]:
        """The training neighbours of a node, on the other side of the graph, ascending."""
        pointers, others = self._neighbours[side]
        neighbours: NDArray[np.int64] = others[pointers[node] : pointers[node + 1]]
        return neighbours

    def review(self, user: int, item: int) -> str:
        """The user's review of a training item, or an empty string."""
        return self._reviews.get((user, item), "")

    def reviewers(self, item: int) -> Sequence[int]:
        """The users whose training review of an item is known, ascending."""
        return self._reviewers.get(item, ())

    def has_text(self, item: int) -> bool:
        """Whether anything at all is known about an item."""
        known = (self.titles, self.descriptions, self.attributes)
        return any(texts[item] for texts in known) or bool(self.reviewers(item))

    def num_nodes(self, side: Side) -> int:
        """How many users or items there are."""
        return self.num_users if side == "user" else self.num_items

    def raw_id(self, side: Side, node: int) -> Any:
        """The owner's id of a node."""
        return (self.user_ids if side == "user" else self.item_ids)[node]

    @cached_property
    def text_hash(self) -> str:
        """SHA-256 of every text the prompts can see."""
        digest = hashlib.sha256()
        reviews = sorted(self._reviews.items())
        for rows in (self.titles, self.descriptions, self.attributes, reviews):
            digest.update(repr(rows).encode())
        return digest.hexdigest()

    def _read_items(self, table: pd.DataFrame, id_column: str, node: Mapping[str, int]) -> int:
        _require(table, (id_column,), "items")
        others = [str(c) for c in table.columns if c not in (id_column, "title", "description")]
        seen: dict[int, int] = {}
        unknown = 0
        counted, places = _places(table)
        for row, record in zip(places, table.to_dict("records"), strict=True):
            item = node.get(as_text(record[id_column]))
            if item is None:
                unknown += 1
                continue
            if item in seen:
                raise ValueError(
                    f"The items table lists item {record[id_column]!r} twice, in "
                    f"{counted}s {seen[item]} and {row}: keep one."
                )
            seen[item] = row
            self.titles[item] = _text(record.get("title"))
            self.descriptions[item] = _text(record.get("description"))
            self.attributes[item] = {c: text for c in others if (text := _text(record[c]))}
        if not seen:
            raise ValueError(
                f"No id in column {id_column!r} of the items table is an item of the "
                f"data set (ids there look like {self.item_ids[:3]!r})."
            )
        return unknown

    def _read_reviews(
        self,
        table: pd.DataFrame,
        columns: tuple[str, str, str],
        item_node: Mapping[str, int],
        outside: str,
    ) -> None:
        _require(table, columns, "reviews")
        user_node = {str(raw): index for index, raw in enumerate(self.user_ids)}
        counted, places = _places(table)
        for row, raw_user, raw_item, review in zip(
            places, *(table[c] for c in columns), strict=True
        ):
            user, item = user_node.get(as_text(raw_user)), item_node.get(as_text(raw_item))
            if user is None or item is None or not self._is_training(user, item):
                if outside == "error":
                    raise LeakageError(
                        f"{counted.capitalize()} {row} of the reviews table is about user "
                        f"{raw_user!r} and item {raw_item!r}, who are not a pair of the training "
                        "split: a text made "
                        "from it would leak what is to be predicted. Hand over training reviews "
                        "only, or pass outside='drop' (--drop-outside-training) to leave such "
                        "rows out."
                    )
                self.dropped_reviews += 1
            elif (text := _text(review)) and (user, item) not in self._reviews:
                self._reviews[user, item] = text
                self._reviewers.setdefault(item, []).append(user)
        for users in self._reviewers.values():
            users.sort()

    def _is_training(self, user: int, item: int) -> bool:
        items = self.items_of(user)
        at = int(np.searchsorted(items, item))
        return at < len(items) and int(items[at]) == item

    def __repr__(self) -> str:
        sizes = f"num_users={self.num_users}, num_items={self.num_items}"
        pairs = f"training_pairs={self.num_pairs}, reviews={len(self._reviews)}"
        return f"{self.__class__.__name__}({self.name!r}, {sizes}, {pairs})"


def _places(table: pd.DataFrame) -> tuple[str, Iterable[int]]:
    """What tells where a row stands: the lines of a file, or rows of a table in memory, from 0."""
    return ("line", table.index) if table.index.name == "line" else ("row", range(len(table)))


def split_hash(data: HeteroData) -> str:
    """SHA-256 of the node counts and the three splits of a data set."""
    digest = hashlib.sha256(f"{data['user'].num_nodes} {data['item'].num_nodes}".encode())
    for name in PAIRS:
        pairs = _pairs(data, name).numpy()
        order = np.lexsort((pairs[1], pairs[0]))
        digest.update(name.encode() + np.ascontiguousarray(pairs[:, order], "<i8").tobytes())
    return digest.hexdigest()


def _pairs(data: HeteroData, split: str) -> Tensor:
    value = data[EDGE_TYPE].get(PAIRS[split])
    pairs = value if isinstance(value, Tensor) else torch.empty(2, 0)
    return pairs.cpu().long()


def _training_pairs(data: HeteroData) -> tuple[Tensor, int]:
    train = _pairs(data, "training")
    if not train.size(1):
        raise ValueError("The data set has no training interaction: its 'edge_index' is empty.")
    user, item = torch.cat([_pairs(data, "validation"), _pairs(data, "test")], 1)
    held_out = CSR.from_pairs(user, item, data["user"].num_nodes, data["item"].num_nodes)
    twice = held_out.contains(*train)
    return train[:, ~twice], int(twice.sum())


def _ids(data: HeteroData, side: Side) -> list[Any]:
    raw = data[side].get("raw_id")
    ids = list(range(int(data[side].num_nodes))) if raw is None else list(raw)
    if (twice := repeated_id(map(str, ids))) is not None:
        raise ValueError(
            f"data[{side!r}].raw_id holds {twice!r} more than once (ids are compared as text)."
        )
    return ids


def _text(value: object) -> str:
    # Half a character cannot be sent to anybody.
    return as_text(value).strip().encode("utf-8", "replace").decode()


def _require(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise ValueError(
            f"The {what} table has no column {missing[0]!r}; it has {list(table.columns)!r}."
        )
