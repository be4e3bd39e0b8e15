import csv
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE
from .archives import extract
from .download import DownloadError, retrieve
from .interactions import from_interactions
from .movielens_texts import item_texts, user_texts
from .safe_pickle import DataFileError
from .table import TableDataset
from .tables import k_core, read_delimited

if TYPE_CHECKING:
    from ..text.views import AnyEncoder

#: The files of GroupLens, and those of RecBole.
_FILES = (("u.item", "u.data"), ("ml-100k.item", "ml-100k.inter"))
# fmt: off
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)
# fmt: on


class MovieLensText(TableDataset):
    r"""MovieLens-100K, `"The MovieLens Datasets: History and Context"
    <https://doi.org/10.1145/2827872>`_, with texts: a real data set on which every model can be
    tried that needs them.

    Ratings of 4 and 5 are interactions; users and movies with fewer than five of them are left out
    until none remains (5-core). Each user's interactions are split 3:1:1 at random.

    Texts are made from templates, without a language model: a movie's from its title, year and
    genres, a user's from their **training** movies only. They are embedded by a local encoder, as
    ``x`` (profiles) and ``intent`` (what attracts and what does not).

    The files ``u.item`` and ``u.data`` of GroupLens, or ``ml-100k.item`` and ``ml-100k.inter`` of
    RecBole, are looked for in ``root/raw``, ``root/ml-100k`` and ``root``. Where there are none,
    GroupLens's archive is fetched (5 MB). Its terms forbid passing it on.

    .. list-table::
        :header-rows: 1

        * - #users
          - #items
          - #train / #validation / #test
        * - 938
          - 1,008
          - 32,655 / 10,871 / 10,887

    Args:
        root (str): Folder of the data set.
        encoder (AnyEncoder, optional): One of :mod:`irllrec_pyg.text`.
            (default: :class:`~irllrec_pyg.text.encoders.WordLlamaEncoder`)
        seed (int, optional): Seed of the split, and of the movies that a user's text names.
            (default: ``0``)
        transform (callable, optional): Applied to the graph before every access.
            (default: ``None``)
        force_reload (bool, optional): Whether to process the raw files again.
            (default: ``False``)

    Raises:
        DataFileError: For a raw file that cannot be used; names file and row.
        DownloadError: Where files are missing and cannot be fetched.
    """

    url = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
    hash = "md5:0e33842e24a9c977be4e0107933c0723"  # published by GroupLens beside the archive

    def __init__(
        self,
        root: str | os.PathLike[str],
        encoder: "AnyEncoder | None" = None,
        seed: int = 0,
        transform: Callable[[HeteroData], Any] | None = None,
        force_reload: bool = False,
    ) -> None:
        super().__init__(
            root,
            "movielens",
            seed=seed,
            encoder=encoder or "wordllama",
            transform=transform,
            force_reload=force_reload,
        )

    # Files ========================================================================================

    @property
    def folder(self) -> str:
        r"""The folder of this data set."""
        return self.root

    @property
    def raw_dir(self) -> str:
        return os.path.dirname(self._found()[0])

    @property
    def raw_file_names(self) -> list[str]:
        return [os.path.basename(path) for path in self._found()]

    def _found(self) -> tuple[str, str]:
        folders = [os.path.join(self.root, name) for name in ("raw", "ml-100k", "")]
        pairs = [
            (os.path.join(folder, items), os.path.join(folder, ratings))
            for folder in folders
            for items, ratings in _FILES
        ]
        return next((pair for pair in pairs if all(map(os.path.exists, pair))), pairs[0])

    def _used(self) -> list[Path]:
        return [Path(path) for path in self._found() if os.path.exists(path)]

    def download(self) -> None:
        if all(map(os.path.exists, self._found())):
            return
        target = Path(self.root, "raw")
        try:
            archive = retrieve({"ml-100k.zip": self.url}, target, {"ml-100k.zip": self.hash})
            extract(archive, ("ml-100k",), _FILES[0], str(target))
            archive[0].unlink()
        except (DownloadError, ValueError) as error:
            raise DownloadError(
                f"{error} (Needed out of it: {' and '.join(_FILES[0])}, in {target.absolute()}.)"
            ) from error

    # Processing ===================================================================================

    def _build(self) -> HeteroData:
        items, ratings = self._found()
        data = make_graph(read_items(Path(items)), read_ratings(Path(ratings)), self.seed)
        texts = make_texts(data, read_items(Path(items)), self.seed)
        for field, corpus in texts["item"].items():
            encode = self._encode(corpus)
            for side in texts:
                data[side][field] = torch.from_numpy(encode(texts[side][field]))
        return data

    @property
    def texts(self) -> dict[str, dict[str, list[str]]]:  # type: ignore[override]
        r"""The texts that were embedded: ``texts["user"]["x"][0]`` is that of user 0."""
        return make_texts(self._graph, read_items(Path(self._found()[0])), self.seed)


def read_items(path: Path) -> pd.DataFrame:
    r"""Reads ``u.item`` or RecBole's ``.item``.

    Returns:
        Table indexed by the movie's id with the columns ``title``, ``year`` (text, or empty) and
        ``genres`` (list of text).
    """
    if path.suffix == ".item" and path.name != "u.item":
        table = _read(path, "\t", 4, header=0)
        years, genres = table[2], [text.split() for text in table[3]]
    else:
        table = _read(path, "|", 24, header=None, encoding="latin-1")
        years = table[2].str[-4:]
        flags = table.iloc[:, 5:].to_numpy() == "1"
        genres = [[GENRES[at] for at in np.flatnonzero(row)] for row in flags]
    return pd.DataFrame(
        {
            "title": [_title(text) for text in table[1]],
            "year": [_year(title, year) for title, year in zip(table[1], years, strict=True)],
            "genres": [[genre for genre in row if genre != "unknown"] for row in genres],
        },
        index=_numbers(table[0], path),
    )


def read_ratings(path: Path) -> pd.DataFrame:
    r"""Reads ``u.data`` or RecBole's ``.inter``; columns ``user``, ``item`` and ``rating``."""
    table = _read(path, "\t", 3, header=0 if path.suffix == ".inter" else None)
    names = ("user", "item", "rating")
    return pd.DataFrame({name: _numbers(table[at], path) for at, name in enumerate(names)})


def make_graph(items: pd.DataFrame, ratings: pd.DataFrame, seed: int) -> HeteroData:
    r"""Keeps ratings of 4 and 5 and the 5-core, and splits them 3:1:1."""
    unknown = set(ratings["item"]) - set(items.index)
    if unknown:
        raise DataFileError(f"Movie {min(unknown)} has ratings but no row in the file of movies.")
    liked = ratings[ratings["rating"] >= 4]
    liked = liked[k_core(liked["user"].to_numpy(), liked["item"].to_numpy(), 5)]
    if liked.empty:
        raise DataFileError("No user and movie with five ratings of 4 or 5 is left.")
    data = from_interactions(liked, "user", "item", seed=seed, name="movielens")
    del data.missing
    return data


def make_texts(data: HeteroData, items: pd.DataFrame, seed: int) -> dict[str, dict[str, list[str]]]:
    r"""Texts of movies, and of users from their training movies, by side and field."""
    movies = items.loc[list(data["item"].get("raw_id") or range(data["item"].num_nodes))]
    user, item = data[EDGE_TYPE].edge_index.numpy()
    return {
        "user": user_texts(movies, user, item, data["user"].num_nodes, seed),
        "item": item_texts(movies),
    }


def _read(path: Path, separator: str, columns: int, **options: Any) -> pd.DataFrame:
    table = read_delimited(path, separator, quoting=csv.QUOTE_NONE, **options)
    if table.shape[1] < columns:
        raise DataFileError(
            f"{path} is not a MovieLens file: it has {table.shape[1]} columns instead of {columns}"
        )
    return table.set_axis(range(table.shape[1]), axis=1)


def _numbers(column: Any, path: Path) -> NDArray[np.int64]:
    numbers = pd.to_numeric(pd.Series(column), errors="coerce")
    wrong = np.flatnonzero(numbers.isna() | (numbers % 1 != 0))
    if len(wrong):
        raise DataFileError(
            f"{path}: {list(column)[wrong[0]]!r} in its row {wrong[0] + 1} is not a whole number"
        )
    return numbers.to_numpy(dtype=np.int64)


def _title(text: str) -> str:
    text = re.sub(r"\s*\((\d{4}|V)\)", "", text).strip()
    found = re.fullmatch(r"(.*), (The|A|An|Il|La|Le|Les|L'|Das|Der|El)( \(.*\))?", text)
    return f"{found[2]} {found[1]}{found[3] or ''}".replace("' ", "'") if found else text


def _year(title: str, given: str) -> str:
    inside = re.findall(r"\((\d{4})\)", title)
    year = inside[-1] if inside else given
    return year if re.fullmatch(r"\d{4}", year) else ""
