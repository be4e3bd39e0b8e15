"""The model that is served, and how another one takes its place."""

import copy
import functools
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ..config import ConfigError, unknown_name
from ..model_folder import load_folder
from ..ranking import Blend, IndexedRanker, Ranker
from ..ranking.item_table import with_rows

#: What a ranker computes anew when it is asked, because it might be trained in between.
KEPT = ("embed", "fold_in", "item_similarity")


@dataclass(frozen=True)
class Served:
    """A model that does not change any more; a request works on one from its begin to its end.

    Args:
        ranker (Ranker): The model.
        lists (Ranker): What makes lists: the model, or an index of its items.
        version (int): Grows with each change.
        origin (Served, optional): Whose tensors these are too, where the items' table alone
            differs; it is kept until nothing uses them. (default: none)
    """

    ranker: Ranker
    lists: Ranker
    version: int
    origin: "Served | None" = None

    @functools.cached_property
    def titles(self) -> dict[Hashable, Any] | None:
        """Titles of the items by their ids, where there is a table with some."""
        table = self.ranker.item_table
        return None if table is None or "title" not in table else table["title"].to_dict()

    @property
    def takes_new_items(self) -> bool:
        """Whether items can be added by their texts."""
        return self.ranker.text_width is not None and self.ranker.text_encoder is not None


class Shelf:
    """Holds the model that is served; changes are made on another one, which then takes its place.

    Args:
        source (str, Path, Ranker or callable): A model's folder, what loads a model, or a model,
            which must not be changed afterwards.
        index (bool, optional): Whether lists come from an index of the items.
            (default: ``False``)

    Raises:
        FileNotFoundError, CheckpointError: If there is no such model.
        ValueError: If there shall be an index, and scores are no dot products.
    """

    def __init__(
        self, source: str | Path | Ranker | Callable[[], Ranker], index: bool = False
    ) -> None:
        if isinstance(source, Ranker):
            fixed = source
            self._load: Callable[[], Ranker] | None = None
        elif callable(source):
            self._load = source
        else:
            self._load = functools.partial(load_folder, source)
        self._index = index
        self._changes = threading.Lock()
        self._added: dict[Hashable, dict[str, Any]] = {}
        self._base: Ranker | None = None  # without items that were added, where there are some
        ranker = fixed if self._load is None else self._load()
        self._current = self._serve(ranker, 1)

    @property
    def current(self) -> Served:
        """The model, as it is now."""
        return self._current

    def add_items(self, rows: Sequence[Mapping[str, Any]]) -> Served:
        """Adds items by their texts to a copy of the model, which then takes its place.

        Raises:
            ConfigError: If there is no encoder of texts.
            NotImplementedError: If the model does not rank items by texts alone.
            ValueError: If an item is there already or has no text; nothing has changed then.
        """
        with self._changes:
            before = self.current
            grown = _grown(before.ranker, rows)
            self._current = self._serve(grown, before.version + 1)
            self._base = before.ranker if self._base is None else self._base
            self._added |= {row["item"]: dict(row) for row in rows}
            return self._current

    def change_items(self, rows: Sequence[Mapping[str, Any]]) -> Served:
        """Gives columns of the items' table other values; of added items, also the texts.

        Raises:
            ConfigError: If there is no table, or an item is named twice.
            KeyError: If an item is unknown; nothing has changed then.
            ValueError: If there is no such column, a value is of another kind than its column, or
                an added item would have no text; nothing has changed then.
        """
        with self._changes:
            before = self.current
            table = before.ranker.item_table
            if table is None:
                raise ConfigError("This model has no table of its items that could be changed.")
            changes = {row["item"]: {k: v for k, v in row.items() if k != "item"} for row in rows}
            if len(changes) < len(rows):
                raise ConfigError("An item may be named once in a request.")
            before.ranker.positions(list(changes), "item")  # all of them are known
            for item, own in changes.items():
                known = {*table, *self._added.get(item, {})}
                if wrong := [name for name in own if name not in known]:
                    raise ConfigError(unknown_name("column", wrong[0], list(map(str, table))))
            added = {item: {**row, **changes.get(item, {})} for item, row in self._added.items()}
            after = with_rows(table, changes)
            if any(_says_else(self._added[item], row) for item, row in added.items()):
                assert self._base is not None
                grown = _grown(self._base, list(added.values()))
                grown.item_table = after
                changed = self._serve(grown, before.version + 1)
            else:
                changed = _with_table(before, after)
            self._current, self._added = changed, added
            return changed

    def reload(self) -> tuple[Served, int]:
        """Loads the model again, which then takes the place of the old one.

        Items that were added and that the new model does not know are added again.

        Returns:
            The model, and the number of items that were added again.

        Raises:
            ConfigError: If the model was not loaded from a folder.
            FileNotFoundError, CheckpointError: If there is no such model any more; the old one
                stays.
        """
        if self._load is None:
            raise ConfigError("This model was not loaded from a folder, and cannot be again.")
        with self._changes:
            ranker = self._load()
            known = ranker.owners("item")
            again = {item: row for item, row in self._added.items() if item not in known}
            grown = _grown(ranker, list(again.values())) if again else ranker
            self._current = self._serve(grown, self.current.version + 1)
            self._base, self._added = ranker if again else None, again
            return self._current, len(again)

    def _serve(self, ranker: Ranker, version: int) -> Served:
        ranker.eval()
        settle(ranker)
        served = Served(ranker, IndexedRanker(ranker).eval() if self._index else ranker, version)
        # What is computed once refers to its model. When the last request on a model that was
        # replaced has its answer, the memory is free at once, not when garbage is looked for.
        weakref.finalize(served, unsettle, ranker).atexit = False
        return served


def _grown(ranker: Ranker, rows: Sequence[Mapping[str, Any]]) -> Ranker:
    """A copy with more items."""
    if ranker.text_width is not None and ranker.text_encoder is None:
        raise ConfigError(
            "New items are ranked by their texts, and the server has no encoder of these; start it "
            "with --with-data."
        )
    # The encoder is large, and is not changed.
    twin = copy.deepcopy(ranker, {id(ranker.text_encoder): ranker.text_encoder})
    unsettle(twin)
    twin.add_items(pd.DataFrame([dict(row) for row in rows]))
    if twin.item_table is not None:
        own = {row["item"]: {**row} for row in rows}
        twin.item_table = with_rows(twin.item_table, own)
    return twin


def _with_table(before: Served, table: pd.DataFrame) -> Served:
    """The same model with another table of its items; nothing is computed anew."""
    ranker = copy.copy(before.ranker)
    ranker.item_table = table
    lists: Ranker = ranker
    if isinstance(before.lists, IndexedRanker):
        lists = copy.copy(before.lists)
        lists.item_table, lists.ranker = table, ranker
    return Served(ranker, lists, before.version + 1, before.origin or before)


def _says_else(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether texts of an added item differ, by which it is ranked."""
    return any(
        before.get(name) != value and (isinstance(value, str) or isinstance(before.get(name), str))
        for name, value in after.items()
    )


def settle(ranker: Ranker) -> None:
    """Lets a model compute embeddings and similarities once: nothing trains it any more."""
    for part in _parts(ranker):
        for name in KEPT:
            if hasattr(part, name):
                part.__dict__[name] = functools.cache(_without_gradients(getattr(part, name)))
    with torch.no_grad(), ranker.ranking():
        for part in _parts(ranker):
            part.embed()


def unsettle(ranker: Ranker) -> None:
    """Takes :func:`settle` back."""
    for part in _parts(ranker):
        for name in KEPT:
            part.__dict__.pop(name, None)


def _parts(ranker: Ranker) -> list[Ranker]:
    parts = [ranker]
    if isinstance(ranker, Blend):
        for part in ranker.rankers():
            parts += _parts(part)
    return parts


def _without_gradients(compute: Callable[[], Any]) -> Callable[[], Any]:
    def computed() -> Any:
        with torch.no_grad():
            return compute()

    return computed
