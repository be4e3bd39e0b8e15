r"""What is judged: a split, the texts of its items by name, and a sample of both."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from ..datasets import IRLLRecDataset, TableDataset
from ..datasets.safe_pickle import DataFileError
from ..datasets.table_texts import joined, rows_by_position
from ..datasets.tables import find_table
from ..edges import EDGE_TYPE

TITLE = "title"
#: Columns that are judged where none is named.
USUAL = (TITLE, "text", "llm_text", "description", "profile")
TEXTS_FILE, PROFILE, INTENT = "item_texts.csv", "profile", "intent"  # what `irllrec texts` writes
CORES = (5, 2, 1)
#: Where a text is missing for more than this share of the items, they are left out.
GAPS = 0.1


class JudgeError(ValueError):
    """Data that cannot be judged; the message says what to do."""


@dataclass(frozen=True)
class Judged:
    r"""A split and texts of its items.

    Args:
        data (HeteroData): The split.
        texts (dict): Texts by name, by the item's position; ``""`` where there is none.
        intents (dict): Texts of intents by name, in the same form.
        cache (str): The folder in which embeddings are kept.
        notes (list of str): What a reader must know of them.
    """

    data: HeteroData
    texts: dict[str, list[str]]
    intents: dict[str, list[str]]
    cache: str
    notes: list[str] = field(default_factory=list)


def read(
    root: str,
    name: str,
    texts: Sequence[str] = (),
    intents: Sequence[str] = (),
    k_core: int | None = None,
    seed: int = 0,
) -> Judged:
    r"""Reads a folder of tables, or one that ``irllrec texts`` has written.

    Args:
        root (str): Folder of data sets.
        name (str): The data set's: a folder of tables (:class:`TableDataset`), split at random
            3:1:1 as ``irllrec texts`` splits it, or one in the published layout, whose own split
            counts.
        texts (sequence of str, optional): What to judge: columns of ``items``, several joined by
            "+", or folders of ``irllrec texts``, whose profiles count. (default: the usual columns,
            and what the folder itself holds)
        intents (sequence of str, optional): Intents, in the same way. (default: those of the
            folders among ``texts``)
        k_core (int, optional): Users and items with fewer interactions are left out.
            (default: 5, or the largest of 2 and 1 that leaves something)
        seed (int, optional): Seed of a random split. (default: ``0``)

    Raises:
        ValueError: If something is missing or cannot be used; one line that says what to do.
    """
    folder, notes = Path(root, name), list[str]()
    if not folder.is_dir():
        raise JudgeError(f"There is no folder {folder}.")
    tables = find_table(folder, "interactions") is not None
    if tables:
        data, cache = _tables(root, name, k_core, seed, notes)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it has no embeddings
            data = cast(HeteroData, IRLLRecDataset(root, name)[0])
        cache = str(folder)
    ids = [str(raw) for raw in data["item"].get("raw_id", range(data["item"].num_nodes))]
    path = find_table(folder, "items")
    items = pd.DataFrame({"item": ids})
    if path is not None:
        items = rows_by_position(path, "item", ids, warn=False)
    made = [str(folder)] if (folder / TEXTS_FILE).exists() else []
    asked = list(texts) or [*(column for column in USUAL if column in items), *made]
    if not asked:
        raise JudgeError(
            f"{path or folder} has none of the columns {', '.join(USUAL)}; name those to judge by "
            f"--texts: {', '.join(items.columns)}."
        )
    if TITLE in items and TITLE not in asked:
        asked = [TITLE, *asked]
    found = {spec: _column(spec, items, PROFILE, str(path or folder)) for spec in asked}
    own = [spec for spec in asked if Path(spec, TEXTS_FILE).exists()]
    further = {spec: _column(spec, items, INTENT, str(path or folder)) for spec in intents or own}
    return Judged(data, found, {n: t for n, t in further.items() if any(t)}, cache, notes)


def _tables(
    root: str, name: str, k_core: int | None, seed: int, notes: list[str]
) -> tuple[HeteroData, str]:
    cores = CORES if k_core is None else (k_core,)
    for core in cores:
        try:
            dataset = TableDataset(root, name, k_core=core, seed=seed, encoder=None)
        except DataFileError as error:
            if "nothing is left" not in str(error) or core == cores[-1]:
                raise
            continue
        if core != cores[0]:
            notes.append(f"The {cores[0]}-core is empty: the {core}-core is judged.")
        return cast(HeteroData, dataset[0]), dataset.processed_dir
    raise AssertionError("unreachable")


def _column(spec: str, items: pd.DataFrame, made: str, source: str) -> list[str]:
    r"""The texts that a column, several of them, or a folder of ``irllrec texts`` stands for."""
    table, columns = items, spec.split("+")
    if (path := Path(spec, TEXTS_FILE)).exists():
        source, columns = str(path), [made]
        table = rows_by_position(path, "item", items["item"].tolist(), warn=False)
        if (origin := f"{made}_from") in table and made in table:
            # What stands in for a text that was not asked for says nothing of the model's.
            table[made] = table[made].where(table[origin] == "model", "")
    for column in columns:
        if column not in table:
            raise JudgeError(
                f"{source} has no column {column!r}; its columns are {', '.join(table.columns)}."
            )
    return joined(table, columns)


@dataclass(frozen=True)
class Sample:
    r"""The part of a split on which texts are judged.

    Args:
        data (HeteroData): The training interactions of all users with the sampled items.
        items (numpy.ndarray): Which items of the whole data set these are.
        val, test (Tensor): Pairs of the sampled users, int64 of shape :math:`(2, M)`.
    """

    data: HeteroData
    items: NDArray[np.int64]
    val: Tensor
    test: Tensor


def draw(judged: Judged, users: int, items: int, seed: int) -> Sample:
    r"""Draws items and users.

    Where a text is missing for more than a tenth of the items, such as those that an LLM was not
    asked for yet, the items that have all texts are judged. Of too many items, popular ones are
    more likely drawn (in proportion to their interactions), since a uniform draw would leave users
    without a history.

    Args:
        judged (Judged): Split and texts.
        users (int): Users at most for test; for validation, which is ranked many times, a third.
        items (int): Items at most.
        seed (int): Seed of the draw.

    Raises:
        JudgeError: If a text is missing for all items, or no two users are left.
    """
    rng, data = np.random.default_rng(seed), judged.data
    size = int(data["item"].num_nodes)
    kept = np.ones(size, bool)
    for name, texts in (judged.texts | judged.intents).items():
        there = np.array([bool(text) for text in texts])
        if not there.any():
            raise JudgeError(f"{name!r} has no text for any item of the interactions.")
        if there.mean() < 1 - GAPS:
            judged.notes.append(
                f"{name!r} is missing for {int((~there).sum())} of {size} items: they are left out."
            )
            kept &= there
    edges = data[EDGE_TYPE]
    degree = np.bincount(edges.edge_index[1].numpy(), minlength=size)
    places = np.flatnonzero(kept)
    if len(places) > items:
        judged.notes.append(
            f"Of {len(places)} items {items} are drawn, popular ones more likely: rare items, "
            "whose texts matter most, count for less than they will."
        )
        key = np.log(degree[places] + 1e-9) + rng.gumbel(size=len(places))
        places = np.sort(places[np.argsort(-key, kind="stable")[:items]])
    number = np.full(size, -1)
    number[places] = np.arange(len(places))
    pairs = {}
    for label in ("edge_index", "val_edge_label_index", "edge_label_index"):
        user, item = edges[label].numpy()
        inside = number[item] >= 0
        pairs[label] = np.stack([user[inside], number[item[inside]]])
    train = pairs.pop("edge_index")
    known = np.bincount(train[0], minlength=int(data["user"].num_nodes)) > 0
    drawn = []
    for part, most in zip(pairs.values(), (-(-users // 3), users), strict=True):
        part = part[:, known[part[0]]]
        able = np.unique(part[0])
        if len(able) < 2:
            raise JudgeError(
                f"{len(able)} users have a training item and a held-out item among the "
                f"{len(places)} items that have texts; at least 2 are needed, and some hundred to "
                "learn anything."
            )
        some = rng.permutation(able)[:most]
        drawn.append(torch.from_numpy(part[:, np.isin(part[0], some)]))
    graph = HeteroData()
    graph["user"].num_nodes, graph["item"].num_nodes = data["user"].num_nodes, len(places)
    graph[EDGE_TYPE].edge_index = torch.from_numpy(train)
    return Sample(graph, places, *drawn)
